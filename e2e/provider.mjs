// An authorization server that shares no line of code with Holdfast: the
// certified oidc-provider with rotation of refresh tokens and reuse detection
// (a spent refresh token sent again ends the whole grant, at once: no leeway).
//
// It prints {"event":"ready","issuer":...} and then the ledger (ledger.mjs) on
// standard output. A line on its standard input comes back as
// {"event":"sync","line":...}: everything that happened before it stands above
// it. It exits when its standard input closes, so that it never outlives the
// test that started it.

import http from 'node:http';
import readline from 'node:readline';
import { Provider } from 'oidc-provider';
import { interactions } from './pages.mjs';
import { say, watch } from './ledger.mjs';
import { settings } from './settings.mjs';

// Standard output belongs to the ledger.
for (const name of ['log', 'info', 'warn', 'debug']) console[name] = console.error;

function configuration(set) {
  return {
    clients: set.clients.map(({ id, secret }) => ({
      client_id: id,
      client_secret: secret,
      redirect_uris: [set.callbackURL],
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_post',
    })),
    scopes: ['openid', 'offline_access', ...set.scopes],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    // A grant lives on without its browser session, as a service's must.
    expiresWithSession: () => false,
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
    interactions: { url: (_ctx, { uid }) => `/interaction/${uid}` },
    cookies: { keys: ['a key for cookies of a test'] },
    features: { devInteractions: { enabled: false }, revocation: { enabled: true } },
    ttl: {
      AuthorizationCode: set.codeTTL,
      AccessToken: set.accessTTL,
      RefreshToken: set.refreshTTL,
      IdToken: 3600,
      Grant: 1209600,
      Interaction: 600,
      Session: 600,
    },
  };
}

async function serve(set) {
  const server = http.createServer();
  await new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(set.port, '127.0.0.1', resolve);
  });
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration(set));
  watch(provider);
  const answer = provider.callback();
  server.on('request', (req, res) => {
    if (!req.url.startsWith('/interaction/')) return answer(req, res);
    return interactions(provider, req, res).catch((err) => {
      console.error(err);
      res.writeHead(500).end('interaction failed');
    });
  });
  say({ event: 'ready', issuer });
}

const commands = readline.createInterface({ input: process.stdin });
commands.on('line', (line) => say({ event: 'sync', line }));
commands.on('close', () => process.exit(0));
await serve(settings(process.env));
