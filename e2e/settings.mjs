// What the counterpart may be told, all of it by environment variables, so
// that the Go test can start it without writing a file.
//
//   OIDC_CLIENTS       JSON array of {"id","secret"}; required
//   OIDC_CALLBACK_URL  the one redirect URI of all clients; required
//   OIDC_SCOPES        space-separated scopes besides openid and offline_access; default none
//   OIDC_CODE_TTL      seconds an authorization code lives; default 60
//   OIDC_ACCESS_TTL    seconds an access token lives; default 3600
//   OIDC_REFRESH_TTL   seconds a refresh token lives, counted anew at each rotation; default 86400
//   OIDC_PORT          loopback port to listen on; default 0, which takes a free one

function required(env, name) {
  const value = env[name];
  if (!value) throw new Error(`${name} is not set: see the top of e2e/settings.mjs`);
  return value;
}

function seconds(env, name, fallback) {
  const value = Number(env[name] ?? fallback);
  if (!Number.isInteger(value) || value < 0) {
    throw new Error(`${name} is ${JSON.stringify(env[name])}: want a whole number`);
  }
  return value;
}

function clients(env) {
  const list = JSON.parse(required(env, 'OIDC_CLIENTS'));
  if (!Array.isArray(list) || list.length === 0 || list.some((c) => !c.id || !c.secret)) {
    throw new Error('OIDC_CLIENTS: want a JSON array of {"id","secret"} with at least one element');
  }
  return list;
}

// settings returns the validated settings, or throws naming the variable at fault.
export function settings(env) {
  return {
    clients: clients(env),
    callbackURL: required(env, 'OIDC_CALLBACK_URL'),
    scopes: (env.OIDC_SCOPES ?? '').split(' ').filter(Boolean),
    codeTTL: seconds(env, 'OIDC_CODE_TTL', 60),
    accessTTL: seconds(env, 'OIDC_ACCESS_TTL', 3600),
    refreshTTL: seconds(env, 'OIDC_REFRESH_TTL', 86400),
    port: seconds(env, 'OIDC_PORT', 0),
  };
}
