// SPDX-License-Identifier: Apache-2.0

/// The messages that are measured: a browser's request of eight fields, and an API's answer.
enum Messages {
    /// About 500 bytes.
    static let request = """
        GET /api/v1/products/1234567?lang=en&currency=eur HTTP/1.1\r
        Host: shop.production.svc.cluster.local:8080\r
        User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\r
        Accept: application/json, text/plain, */*\r
        Accept-Encoding: gzip, deflate, br\r
        Accept-Language: en-GB,en;q=0.9\r
        Cookie: session=7f9c2ba4e88f827d616045507605853e; theme=dark\r
        X-Request-ID: 4bf92f35-77b3-4da6-a3ce-929d0e0e4736\r
        Connection: keep-alive\r
        \r

        """

    static let response = """
        HTTP/1.1 200 OK\r
        Server: api\r
        Date: Tue, 15 Nov 1994 08:12:31 GMT\r
        Content-Type: application/json; charset=utf-8\r
        Content-Length: 1024\r
        Cache-Control: no-store\r
        Vary: Accept-Encoding\r
        X-Request-ID: 4bf92f35-77b3-4da6-a3ce-929d0e0e4736\r
        \r

        """

    /// A chunked body of some chunks.
    static let chunks = "400\r\n" + String(repeating: "x", count: 1024) + "\r\n10;a=b\r\n0123456789abcdef\r\n0\r\n\r\n"
}
