// Devices that use the official Node SDK; run as a program by session.py.
// Reads a JSON object from standard input: id scope and cases; prints what came of each.
// With the argument https, every case goes over HTTPS, which knows no other port than 443.
'use strict';
const fs = require('fs');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { Mqtt, MqttWs } = require('azure-iot-provisioning-device-mqtt');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');

const https = process.argv[2] === 'https';

function transportTo(port) {
  if (https) return new Http();
  return port === 443 ? new MqttWs() : new Mqtt();
}

function register(order, test) {
  const security = test.key
    ? new SymmetricKeySecurityClient(test.id, test.key)
    : new X509Security(test.id, {
        cert: fs.readFileSync(test.chain_file, 'ascii'),
        key: fs.readFileSync(test.key_file, 'ascii'),
      });
  const transport = transportTo(test.port);
  const client = ProvisioningDeviceClient.create('localhost', order.id_scope, transport, security);
  if (test.payload) client.setProvisioningPayload(test.payload);
  return new Promise((resolve) => {
    client.register((error, result) => {
      if (error) {
        resolve({ errors: [`${error.name}: ${error.message}`], result: error.result || null });
      } else {
        resolve({ status: result.status, hub: result.assignedHub, device: result.deviceId });
      }
    });
  });
}

async function main() {
  let text = '';
  for await (const data of process.stdin) text += data; // a pipe may not be read at once
  const order = JSON.parse(text);
  const results = await Promise.all(order.cases.map((test) => register(order, test)));
  process.stdout.write(JSON.stringify(results) + '\n', () => process.exit(0));
}

main();
