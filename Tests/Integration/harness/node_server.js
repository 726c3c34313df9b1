// SPDX-License-Identifier: Apache-2.0
//
// The same as http_server.py by Node: `node node_server.js 1|2 PORT RECORD`, HTTP/1.1 or HTTP/2 with prior knowledge.
'use strict'
const fs = require('fs')
const [version, port, record] = process.argv.slice(2)

const PERIOD = 131071
// The tests' stream: peer.py has the same.
const PATTERN = (() => {
  const out = Buffer.alloc(PERIOD + 3)
  let state = 0x5EEDn
  for (let at = 0; at < PERIOD; at += 4) {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(state)
    bytes.copy(out, at, 4)
  }
  return out.subarray(0, PERIOD)
})()

let ended = 0

function handle (request, response) {
  response.on('error', () => {})
  request.on('error', () => {})
  if (version === '1') response.setHeader('X-Path', request.url)
  else response.setHeader('x-path', request.url)
  if (request.url === '/echo') return request.pipe(response)
  const pieces = []
  request.on('data', piece => pieces.push(piece))
  request.on('end', () => {
    const body = Buffer.concat(pieces)
    fs.appendFileSync(record, JSON.stringify(
      { method: request.method, target: request.url, body: body.subarray(0, 1000).toString('latin1') }) + '\n')
    answer(request, response, body)
  })
}

function answer (request, response, body) {
  if (request.url.startsWith('/bytes/')) {
    const size = Number(request.url.split('/').pop())
    response.setHeader('content-length', size)
    const out = Buffer.alloc(size)
    for (let at = 0; at < size; at += PERIOD) PATTERN.copy(out, at)
    return response.end(out)
  }
  if (request.url === '/endless' || request.url === '/wait') {
    let gone = false
    response.on('close', () => { gone = true; ended += 1 })
    const more = () => { while (!gone && response.write(PATTERN)); }
    if (request.url === '/endless') {
      response.on('drain', more)
      more()
    }
    return
  }
  response.end(String(request.url === '/ended' ? ended : body.length))
}

const server = version === '1' ? require('http').createServer(handle) : require('http2').createServer(handle)
server.listen(Number(port), '::')
