// The counterpart's ground truth: one JSON object a line on standard output for
// everything that happened at the token endpoint and to grants. It holds the
// refresh tokens in the clear, because a test must be able to play the thief;
// they are made up and die with the process.

// say writes one line of the ledger.
export function say(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

// watch reports the provider's token requests and the ends of its grants:
//
//   {"event":"token","client","grant_type","status","error","sent","issued"}
//   {"event":"grant_revoked","grant"}
//   {"event":"revocation","client","status"}
//
// "sent" is the refresh token of the request, "issued" that of the answer.
export function watch(provider) {
  provider.use(async (ctx, next) => {
    await next();
    const { oidc, method, path, status, body } = ctx;
    if (method !== 'POST') return;
    const client = oidc?.client?.clientId ?? '';
    if (path === '/token') {
      const params = oidc?.params ?? {};
      say({
        event: 'token',
        client,
        grant_type: params.grant_type ?? '',
        status,
        error: body?.error ?? '',
        sent: params.refresh_token ?? '',
        issued: body?.refresh_token ?? '',
      });
    }
    if (path === '/token/revocation') say({ event: 'revocation', client, status });
  });
  provider.on('grant.revoked', (_ctx, grant) => say({ event: 'grant_revoked', grant }));
}
