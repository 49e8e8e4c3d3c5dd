// The whole surface of the released azure-iot-provisioning-service, used against a service; run as
// a program by service_session.py. Reads the connection string, certificates and how a device
// registers from standard input; prints each step's outcome.
'use strict';
const fs = require('fs');
const path = require('path');
const { spawnSync } = require('child_process');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');

async function refused(work) {
  try {
    await work();
  } catch (error) {
    const body = error.responseBody ? JSON.parse(error.responseBody) : {};
    return [error.response ? error.response.statusCode : 0, body.errorCode];
  }
  return 'it was let through';
}

function register(order, ...credential) {
  const [program, ...given] = [...order.provision, ...credential];
  const done = spawnSync(program, given, { encoding: 'utf8', timeout: 30000 });
  return done.stdout ? JSON.parse(done.stdout).status : done.stderr;
}

function keyed(order, name, key) {
  const file = path.join(order.folder, name + '.key');
  fs.writeFileSync(file, key);
  return ['--registration-id', name, '--key-file', file];
}

function pages(query) {
  return new Promise((resolve, reject) => {
    const found = [];
    const next = (error, items) => {
      if (error) return reject(error);
      if (items) found.push(items);
      return query.hasMoreResults ? query.next(next) : resolve(found);
    };
    query.next(next);
  });
}

async function main() {
  let text = '';
  for await (const data of process.stdin) text += data;
  const order = JSON.parse(text);
  const client = ProvisioningServiceClient.fromConnectionString(order.connection_string);
  const steps = {};
  const body = async (work) => (await work).responseBody;

  // Individual enrollments
  const symmetric = { type: 'symmetricKey' };
  const made = await body(client.createOrUpdateIndividualEnrollment({
    registrationId: 'node-keys', attestation: symmetric,
    initialTwin: { tags: { a: 1 }, properties: { desired: { b: 2 } } },
    optionalDeviceInformation: { c: 3 },
  }));
  steps.made = Object.keys(made).sort();
  const got = await body(client.getIndividualEnrollment('node-keys'));
  steps.got = [got.attestation, got.etag === made.etag, got.initialTwin, got.optionalDeviceInformation];
  const mechanism = await body(client.getIndividualEnrollmentAttestationMechanism('node-keys'));
  steps.mechanism = JSON.stringify(mechanism) === JSON.stringify(made.attestation);
  const key = made.attestation.symmetricKey.primaryKey;
  steps.registered = register(order, ...keyed(order, 'node-keys', key));
  got.deviceId = 'node-device';
  const changed = await body(client.createOrUpdateIndividualEnrollment(got)); // with its etag
  steps['keys stay'] = JSON.stringify(changed.attestation) === JSON.stringify(made.attestation);
  steps['stale etag'] = await refused(() => client.createOrUpdateIndividualEnrollment(got));
  delete got.etag;
  steps['no etag'] = await refused(() => client.createOrUpdateIndividualEnrollment(got));
  steps.none = await refused(() => client.getIndividualEnrollment('none'));
  steps['bad delete'] = await refused(() => client.deleteIndividualEnrollment('node-keys', 'other'));
  const state = await body(client.getDeviceRegistrationState('node-keys'));
  steps.state = state.status;

  // X.509 and TPM
  await client.createOrUpdateIndividualEnrollment({
    registrationId: 'node-leaf',
    attestation: { type: 'x509', x509: { clientCertificates: { primary: { certificate: order.leaf } } } },
  });
  const leaf = await body(client.getIndividualEnrollment('node-leaf'));
  steps.leaf = Object.keys(leaf.attestation.x509.clientCertificates.primary.info).sort();
  steps['leaf registered'] = register(order, '--cert', order.leaf_file, '--cert-key', order.leaf_key_file);
  await client.createOrUpdateIndividualEnrollment({
    registrationId: 'node-tpm', attestation: { type: 'tpm', tpm: { endorsementKey: 'RUsx' } },
  });
  steps.tpm = await body(client.getIndividualEnrollmentAttestationMechanism('node-tpm'));

  // Bulk and pages
  const many = [...Array(7).keys()].map((n) => ({ registrationId: `node-${n}`, attestation: symmetric }));
  const bulk = (mode) => new Promise((resolve, reject) => client.runBulkEnrollmentOperation(
    { mode, enrollments: many }, (error, result) => (error ? reject(error) : resolve(result))));
  steps.bulk = await bulk('create');
  steps['bulk again'] = (await bulk('create')).errors.map((error) => error.errorCode);
  const found = await pages(client.createIndividualEnrollmentQuery({ query: '*' }, 3));
  steps.pages = found.map((page) => page.length);
  steps.queried = found.flat().map((each) => each.registrationId).sort();
  steps['bulk delete'] = await bulk('delete');

  // Groups
  const signing = { signingCertificates: { primary: { certificate: order.root } } };
  await client.createOrUpdateEnrollmentGroup({
    enrollmentGroupId: 'node-group', attestation: { type: 'x509', x509: signing },
  });
  steps['member registered'] = register(order, '--cert', order.member_file, '--cert-key', order.member_key_file);
  const states = await pages(
    client.createEnrollmentGroupDeviceRegistrationStateQuery({ query: '*' }, 'node-group', 10));
  steps["group's states"] = states.flat().map((each) => each.registrationId);
  const keys = await body(client.createOrUpdateEnrollmentGroup({
    enrollmentGroupId: 'node-keyed', attestation: symmetric,
  }));
  const groupKeys = await body(client.getEnrollmentGroupAttestationMechanism('node-keyed'));
  steps["group's keys"] = JSON.stringify(groupKeys) === JSON.stringify(keys.attestation);
  const refers = { type: 'x509', x509: { caReferences: { primary: 'uploaded' } } };
  await client.createOrUpdateEnrollmentGroup({ enrollmentGroupId: 'node-refers', attestation: refers });
  steps.references = (await body(client.getEnrollmentGroup('node-refers'))).attestation.x509;
  steps['referred registered'] = register(order, '--cert', order.referred_file, '--cert-key', order.referred_key_file);
  const groups = await pages(client.createEnrollmentGroupQuery({ query: '*' }, 10));
  steps.groups = groups.flat().map((each) => each.enrollmentGroupId).sort();
  const group = await body(client.getEnrollmentGroup('node-group'));
  await client.deleteEnrollmentGroup(group); // with its etag
  steps['group deleted'] = await refused(() => client.getEnrollmentGroup('node-group'));
  steps['unknown CA'] = await refused(() => client.createOrUpdateEnrollmentGroup({
    enrollmentGroupId: 'node-nowhere',
    attestation: { type: 'x509', x509: { caReferences: { primary: 'nowhere' } } },
  }));

  // Registration states and the end
  await client.deleteDeviceRegistrationState(state);
  steps['state deleted'] = await refused(() => client.getDeviceRegistrationState('node-keys'));
  await client.deleteIndividualEnrollment('node-keys');
  steps.deleted = await refused(() => client.getIndividualEnrollment('node-keys'));
  process.stdout.write(JSON.stringify(steps) + '\n', () => process.exit(0));
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`, () => process.exit(1));
});
