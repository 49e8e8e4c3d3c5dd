// aedes, an MQTT broker for Node, on four ports of the loopback address:
// node aedes_broker.js WS MQTT WSS MQTTS PEM
const { createRequire } = require('module')
const load = createRequire(process.env.MQTTWS_NODE_MODULES + '/')
const fs = require('fs')
const { Aedes } = load('aedes')
const { WebSocketServer, createWebSocketStream } = load('ws')

async function main ([ws, mqtt, wss, mqtts, pem]) {
  const broker = await Aedes.createBroker()
  const tls = { cert: fs.readFileSync(pem), key: fs.readFileSync(pem) }
  const websocket = (server, port) => {
    const sockets = new WebSocketServer({ server, handleProtocols: () => 'mqtt' })
    sockets.on('connection', (socket, request) => {
      const stream = createWebSocketStream(socket)
      stream.on('error', () => stream.destroy())
      broker.handle(stream, request)
    })
    server.listen(port, '127.0.0.1')
  }
  websocket(require('http').createServer(), ws)
  websocket(require('https').createServer(tls), wss)
  require('net').createServer(broker.handle).listen(mqtt, '127.0.0.1')
  require('tls').createServer(tls, broker.handle).listen(mqtts, '127.0.0.1')
  process.on('SIGTERM', () => process.exit(0))
}
main(process.argv.slice(2).map((word, n) => n < 4 ? Number(word) : word))
