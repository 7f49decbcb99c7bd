// Node's own server; answers in the form of app.py.
import { createServer } from 'node:http'

const hex = (text) => Buffer.from(text, 'latin1').toString('hex')
const decoded = (path) =>
  path.replace(/%([0-9a-f]{2})/gi, (_, code) => String.fromCharCode(parseInt(code, 16)))

createServer((request, response) => {
  const parts = []
  request.on('data', (part) => parts.push(part))
  request.on('end', () => {
    const at = request.url.indexOf('?')
    const path = at < 0 ? request.url : request.url.slice(0, at)
    const query = at < 0 ? '' : request.url.slice(at + 1)
    const host = request.headers.host ?? ''
    const view = { path: hex(decoded(path)), query: hex(query), host: hex(host) }
    const body = Buffer.concat(parts).toString('hex')
    const text = JSON.stringify({ method: request.method, ...view, body })
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': text.length })
    response.end(text)
  })
}).listen(Number(process.argv[2]), '127.0.0.1')
