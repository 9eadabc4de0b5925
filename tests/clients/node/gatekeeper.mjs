// Serves the gatekeeper of the guide on a free port of loopback, which it prints, with a key that it makes.
import { createServer } from "node:http"
import { generateKeyPair } from "jose"

const [, , module, issuer] = process.argv
const { gatekeeper } = await import(module)
const handle = gatekeeper(issuer, await generateKeyPair("ES256", { extractable: true }))

const server = createServer(async (request, response) => {
  const headers = Object.entries(request.headers).map(([name, value]) => [name, String(value)])
  const answer = await handle(new Request(`http://gatekeeper${request.url}`, { method: request.method, headers }))
  response.writeHead(answer.status, Object.fromEntries(answer.headers))
  response.end(await answer.text())
})
server.listen(0, "127.0.0.1", () => console.log(server.address().port))
