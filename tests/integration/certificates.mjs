// A certificate authority of the test's own, made by openssl: what it has signed, and what it has not.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const folder = mkdtempSync(join(tmpdir(), 'muster-tls-'));
const openssl = (...words) => execFileSync('openssl', words, { cwd: folder, stdio: 'pipe' });
const newKey = (name) => openssl('genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', `${name}.key`);

/** An authority: its certificate in PEM, and `sign(name, hosts)`, which gives {cert, key} as paths of files. */
export function authority(name) {
  newKey(name);
  openssl('req', '-x509', '-new', '-key', `${name}.key`, '-subj', `/CN=${name}`, '-days', '2', '-out', `${name}.pem`);
  return {
    ca: readFileSync(join(folder, `${name}.pem`)),
    sign(leaf, hosts) {
      newKey(leaf);
      writeFileSync(join(folder, `${leaf}.ext`), `subjectAltName=${hosts.join(',')}\n`);
      openssl('req', '-new', '-key', `${leaf}.key`, '-subj', `/CN=${leaf}`, '-out', `${leaf}.csr`);
      openssl('x509', '-req', '-in', `${leaf}.csr`, '-CA', `${name}.pem`, '-CAkey', `${name}.key`, '-CAcreateserial', '-days', '2',
        '-extfile', `${leaf}.ext`, '-out', `${leaf}.pem`);
      return { cert: join(folder, `${leaf}.pem`), key: join(folder, `${leaf}.key`) };
    },
  };
}
