// The plain proxy of a few lines that one would write in Node: no gate, kept-alive connections upstream.
const http = require('node:http');
const [port, upstream] = process.argv.slice(2).map(Number);
const agent = new http.Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 256 });

const server = http.createServer((request, response) => {
  const { method, url: path, headers } = request;
  const asked = http.request({ host: '127.0.0.1', port: upstream, method, path, headers, agent }, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
  });
  asked.on('error', () => response.destroy());
  response.on('close', () => { if (!response.writableFinished) asked.destroy(); });
  request.pipe(asked);
});
server.requestTimeout = 0;
server.listen(port, '127.0.0.1', 4096);
