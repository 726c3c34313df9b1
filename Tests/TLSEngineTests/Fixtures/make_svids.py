#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes svids.pem: the chains that SVIDMatrixTests judges, made by another library than the one that judges them.

Each chain stands under a line `# NAME`, leaf first, and so does each revocation list of RevocationTests. Debian: python3-cryptography. No key is kept.
"""
import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID as Usage
from cryptography.x509.oid import NameOID

NOW = datetime.datetime(2026, 6, 1)
START, END = datetime.datetime(2026, 1, 1), datetime.datetime(2036, 1, 1)
DAY = datetime.timedelta(days=1)
ID = "spiffe://mesh.test/ns/shop/sa/web"
BOTH = [Usage.SERVER_AUTH, Usage.CLIENT_AUTH]


def uri(*texts):
    return [x509.UniformResourceIdentifier(text) for text in texts]


def key_usage(*names):
    all_names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    return x509.KeyUsage(**{name: name in names for name in all_names})


class Issuer:
    def __init__(self, name, parent=None, path_length=None, start=START, end=END, authority=True, usage=None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        parent = parent or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(parent.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(authority, path_length if authority else None), critical=True)
            .add_extension(usage or key_usage("key_cert_sign", "crl_sign"), critical=True)
        )
        self.certificate = builder.sign(parent.key, hashes.SHA256())

    def leaf(self, names=None, usage=key_usage("digital_signature"), extended=BOTH, authority=False, start=START,
             end=END, key=None, algorithm=None, extra=()):
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(end)
        )
        if authority is not None:
            builder = builder.add_extension(x509.BasicConstraints(authority, None), critical=True)
        if names is None:
            names = uri(ID)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        if usage:
            builder = builder.add_extension(usage, critical=True)
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        for extension, critical in extra:
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, algorithm or hashes.SHA256())


def length(count):
    return bytes([count]) if count < 128 else bytes([0x82, count >> 8, count & 255])


def changed(issuer, certificate, old, new):
    """The certificate with other bytes, signed again: what no builder would make."""
    body = certificate.tbs_certificate_bytes
    assert body.count(old) == 1 and len(old) == len(new)
    body = body.replace(old, new)
    signature = issuer.key.sign(body, ec.ECDSA(hashes.SHA256()))
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    bits = b"\x03" + length(len(signature) + 1) + b"\x00" + signature
    content = body + algorithm + bits
    return x509.load_der_x509_certificate(b"\x30" + length(len(content)) + content)


def broken(certificate):
    """The certificate with its last byte, of the signature, changed."""
    der = bytearray(certificate.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    return x509.load_der_x509_certificate(bytes(der))


root = Issuer("root")
middle = Issuer("intermediate", root, path_length=0)
other = Issuer("other root")
foreign = Issuer("root of the other trust domain")
old = Issuer("old intermediate", root, end=NOW - DAY)
second = Issuer("intermediate below the last", middle)
usurper = Issuer("leaf that signs", middle, authority=False, usage=key_usage("digital_signature"))
mute = Issuer("intermediate that may not sign", root, usage=key_usage("digital_signature"))

chains = {}


def chain(name, leaf, *issuers):
    chains[name] = [leaf, *(issuer.certificate for issuer in issuers)]


def leaf(name, names=None, **arguments):
    chain(name, middle.leaf(names, **arguments), middle)


def other_id(name, text):
    leaf(name, uri(text))


def known(count):
    return uri(ID + "x" * (count - len(ID)))


leaf("workload")
leaf("beside DNS names", uri(ID) + [x509.DNSName("web.shop"), x509.DNSName("web"), x509.RFC822Name("a@b.c")])
leaf("no usages at all", usage=None, extended=None)
leaf("no constraints", authority=None)
leaf("key agreement too", usage=key_usage("digital_signature", "key_agreement", "key_encipherment"))
chain("directly below the root", root.leaf())
leaf("no alternative names", [])
leaf("no URI", [x509.DNSName("web.shop")])
leaf("two URIs", uri(ID, "spiffe://mesh.test/ns/shop/sa/db"))
leaf("the same URI twice", uri(ID, ID))
leaf("a second URI of another scheme", uri(ID, "https://web.shop/"))
leaf("another trust domain", uri("spiffe://other.test/ns/shop/sa/web"))
leaf("an unknown trust domain", uri("spiffe://unknown.test/ns/shop/sa/web"))
chain("of the other trust domain", foreign.leaf(uri("spiffe://other.test/ns/shop/sa/web")))
leaf("authority", authority=True, usage=key_usage("digital_signature", "key_cert_sign"))
leaf("authority without usage", authority=True, usage=None)
leaf("keyCertSign", usage=key_usage("digital_signature", "key_cert_sign"))
leaf("cRLSign", usage=key_usage("digital_signature", "crl_sign"))
leaf("no digitalSignature", usage=key_usage("key_encipherment"))
leaf("serverAuth only", extended=[Usage.SERVER_AUTH])
leaf("clientAuth only", extended=[Usage.CLIENT_AUTH])
leaf("codeSigning", extended=[Usage.CODE_SIGNING])
leaf("any usage", extended=[Usage.ANY_EXTENDED_KEY_USAGE])
leaf("both and another usage", extended=BOTH + [Usage.CODE_SIGNING])
leaf("expired", end=NOW - DAY)
leaf("not yet valid", start=NOW + DAY)
chain("another root", other.leaf())
chain("another root, with it", other.leaf(), other)
chain("no intermediate", middle.leaf())
chain("an old intermediate", old.leaf(), old)
chain("one intermediate too many", second.leaf(), second, middle)
chain("signed by a leaf", usurper.leaf(), usurper, middle)
chain("an intermediate that may not sign", mute.leaf(), mute)
chain("too many certificates", middle.leaf(), middle, *[other] * 7)
chain("chain in another order", middle.leaf(), other, middle)
chain("broken signature", broken(middle.leaf()), middle)
self_signed = Issuer("self", authority=False, usage=key_usage("digital_signature"))
chain("self-signed", self_signed.leaf(), self_signed)
leaf("SHA-1", algorithm=hashes.SHA1())
leaf("RSA 1024", key=rsa.generate_private_key(65537, 1024))
leaf("RSA 2048", key=rsa.generate_private_key(65537, 2048))
leaf("an unknown critical extension",
     extra=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00"), True)])
twice = middle.leaf(extra=[(x509.UnrecognizedExtension(
    x509.ObjectIdentifier("2.5.29.99"),
    x509.SubjectAlternativeName(uri("spiffe://mesh.test/ns/shop/sa/db")).public_bytes()), False)])
chain("alternative names twice", changed(middle, twice, b"\x06\x03\x55\x1d\x63", b"\x06\x03\x55\x1d\x11"), middle)
other_id("percent-encoding", "spiffe://mesh.test/ns/shop/sa/w%65b")
other_id("upper-case trust domain", "spiffe://Mesh.test/ns/shop/sa/web")
other_id("upper-case path", "spiffe://mesh.test/ns/shop/sa/Web")
other_id("upper-case scheme", "SPIFFE://mesh.test/ns/shop/sa/web")
other_id("no path", "spiffe://mesh.test")
other_id("root path", "spiffe://mesh.test/")
other_id("dot segment", "spiffe://mesh.test/ns/shop/../sa/web")
other_id("another scheme", "https://mesh.test/ns/shop/sa/web")
other_id("port", "spiffe://mesh.test:8443/ns/shop/sa/web")
other_id("user", "spiffe://web@mesh.test/ns/shop/sa/web")
other_id("query", ID + "?admin")
other_id("NUL", ID + "\0.evil")
other_id("NUL in the trust domain", "spiffe://mesh.test\0.evil/ns/shop/sa/web")
other_id("line feed", ID + "\n")
other_id("empty URI", "")
leaf("2048 bytes", known(2048))
leaf("2049 bytes", known(2049))
leaf("3 KB", known(3072))


# Accepted by whoever has none of the lists.
chain("taken back", middle.leaf(), middle)
withdrawn = Issuer("intermediate that is taken back", root, path_length=0)
chain("below what is taken back", withdrawn.leaf(), withdrawn)


def revocations(issuer, revoked, key=None, reason=None, until=END):
    entry = x509.RevokedCertificateBuilder().serial_number(revoked.serial_number).revocation_date(NOW - DAY)
    if reason:
        entry = entry.add_extension(x509.CRLReason(reason), critical=False)
    builder = x509.CertificateRevocationListBuilder().issuer_name(issuer.name).last_update(START).next_update(until)
    return builder.add_revoked_certificate(entry.build()).sign((key or issuer).key, hashes.SHA256())


chains["list of the intermediate"] = [revocations(middle, chains["taken back"][0])]
chains["list that is out of date"] = [revocations(middle, chains["taken back"][0], until=NOW - DAY)]
chains["list that takes nothing back"] = [
    revocations(middle, chains["taken back"][0], reason=x509.ReasonFlags.remove_from_crl)]
chains["list of the root"] = [revocations(root, withdrawn.certificate)]
chains["list that is forged"] = [revocations(middle, chains["workload"][0], key=other)]
chains["list of another issuer"] = [revocations(other, chains["workload"][0])]

chains["bundle of mesh.test"] = [root.certificate]
chains["bundle of other.test"] = [foreign.certificate]
chains["bundle of intermediates"] = [middle.certificate]
with open(pathlib.Path(__file__).with_name("svids.pem"), "w") as out:
    for name, certificates in chains.items():
        out.write(f"# {name}\n")
        for certificate in certificates:
            out.write(certificate.public_bytes(serialization.Encoding.PEM).decode())
