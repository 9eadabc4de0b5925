// The plain proxy of a few lines that one would write in Node: no authorization, kept-alive connections upstream. A
// request on a connection that the upstream has just closed is sent once more, as Node's documentation advises.
const http = require('node:http');
const [port, upstream] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 256 });

function relay(request, response) {
  const { method, url: path, headers } = request;
  const sent = http.request({ host: '127.0.0.1', port: upstream, method, path, headers, agent }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  sent.on('error', (error) => {
    if (sent.reusedSocket && error.code === 'ECONNRESET' && !response.headersSent && !response.destroyed) {
      relay(request, response);
    } else response.destroy();
  });
  response.once('close', () => { if (!response.writableFinished) sent.destroy(); });
  request.pipe(sent);
}

const server = http.createServer(relay);
server.requestTimeout = 0;
server.listen(port, '127.0.0.1', 4096);
