// Devices of a hub that use the official Node SDK; run as a program by hub_session.py.
// Each device connects, sends telemetry with every property, and then does what the service asks
// by methods until it is told to quit.
'use strict';
const fs = require('fs');
const { Client, Message } = require('azure-iot-device');
const { Mqtt, MqttWs } = require('azure-iot-device-mqtt');
const dps = require('azure-iot-provisioning-device');
const dpsMqtt = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');

const pem = (test) => ({
  cert: fs.readFileSync(test.chain_file, 'ascii'),
  key: fs.readFileSync(test.key_file, 'ascii'),
});

async function provision(order, test) {
  const security = test.key
    ? new SymmetricKeySecurityClient(test.id, test.key)
    : new X509Security(test.id, pem(test));
  const transport = test.port === 443 ? new dpsMqtt.MqttWs() : new dpsMqtt.Mqtt();
  const client = dps.ProvisioningDeviceClient.create(
    'localhost', order.id_scope, transport, security);
  const found = await client.register();
  const device = `DeviceId=${found.deviceId}`;
  if (!test.key) return `HostName=localhost;${device};x509=true`; // reads no gateway's name here
  return `HostName=${found.assignedHub};${device};SharedAccessKey=${test.key};`
    + 'GatewayHostName=localhost';
}

async function run(order, test) {
  const text = test.dps ? await provision(order, test) : test.connection_string;
  const client = Client.fromConnectionString(text, test.port === 443 ? MqttWs : Mqtt);
  const options = { ca: fs.readFileSync(order.ca_file, 'ascii') };
  if (test.key_file) Object.assign(options, pem(test));
  else {
    options.tokenRenewal = {
      tokenValidTimeInSeconds: test.token_seconds, tokenRenewalMarginInSeconds: test.token_margin,
    };
  }
  await client.setOptions(options);
  const tell = (what) => client.sendEvent(new Message(JSON.stringify(what)));
  let over;
  const quit = new Promise((resolve) => { over = resolve; });
  let twin;
  const answer = (request, response, status, payload) => response.send(status, payload);
  client.onDeviceMethod('echo', (q, s) => answer(q, s, 200, q.payload));
  client.onDeviceMethod('fail', (q, s) => answer(q, s, 418, q.payload));
  client.onDeviceMethod('report', (q, s) => {
    twin.properties.reported.update(q.payload, (error) => answer(q, s, error ? 500 : 200, q.payload));
  });
  client.onDeviceMethod('twin', async (q, s) => {
    await twin.get();
    const { desired, reported } = JSON.parse(JSON.stringify(twin.properties));
    delete reported.update;
    answer(q, s, 200, { desired, reported });
  });
  client.onDeviceMethod('quit', (q, s) => answer(q, s, 200, q.payload).then(over));
  client.on('message', (message) => {
    const properties = {};
    for (const { key, value } of message.properties.propertyList) properties[key] = value;
    tell({
      message: message.getData().toString(), properties, id: message.messageId,
      ack: message.ack || null,
    });
    client.complete(message);
  });
  client.on('error', (error) => process.stderr.write(`${test.id}: ${error}\n`));
  await client.open();
  twin = await client.getTwin();
  twin.on('properties.desired', (patch) => {
    if (patch.n !== undefined) tell({ patch: JSON.parse(JSON.stringify(patch)) });
  });
  const { desired, reported } = JSON.parse(JSON.stringify(twin.properties));
  await tell({ twin: { desired, reported } });
  const message = new Message('hello');
  Object.assign(message, {
    messageId: 'm:1', correlationId: 'c/2', userId: 'u 3',
    contentType: 'text/plain', contentEncoding: 'utf-8',
  });
  message.properties.add('a b', 'c=d&e');
  message.properties.add('ü', '/+%');
  await client.sendEvent(message);
  await quit;
  setTimeout(() => client.close(), 100);
}

async function main() {
  let text = '';
  for await (const data of process.stdin) text += data; // a pipe may not be read at once
  const order = JSON.parse(text);
  await Promise.all(order.cases.map((test) => run(order, test)));
  setTimeout(() => process.exit(0), 500);
}

main();
