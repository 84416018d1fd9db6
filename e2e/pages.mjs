// The counterpart's login and consent pages: just enough for a person or a
// browser under test to say who they are, to allow, and to deny.

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text) => String(text).replace(/[&<>"']/g, (c) => escapes[c]);

const page = (title, body) => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${escape(title)}</title></head>
<body><h1>${escape(title)}</h1>${body}</body></html>`;

const loginPage = (uid) => page('Log in', `
<form id="login" method="post" action="/interaction/${escape(uid)}/login">
  <label>Account <input name="account" required autofocus></label>
  <button id="submit">Log in</button>
</form>`);

const consentPage = (uid, client, scopes) => page('Allow access?', `
<p><b>${escape(client)}</b> asks for:</p>
<ul>${scopes.map((s) => `<li>${escape(s)}</li>`).join('')}</ul>
<form id="consent" method="post" action="/interaction/${escape(uid)}/allow"><button id="allow">Allow</button></form>
<form method="post" action="/interaction/${escape(uid)}/deny"><button id="deny">Deny</button></form>`);

async function form(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

function html(res, status, text) {
  res.writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
  res.end(text);
}

// allow stores a grant of everything that was asked for and returns its id.
async function allow(provider, { params, session }) {
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  return grant.save();
}

// interactions answers everything under /interaction/.
export async function interactions(provider, req, res) {
  const details = await provider.interactionDetails(req, res);
  const { uid, prompt, params } = details;
  const verb = new URL(req.url, 'http://localhost').pathname.split('/')[3] ?? '';
  const finish = (result) =>
    provider.interactionFinished(req, res, result, { mergeWithLastSubmission: prompt.name !== 'login' });

  if (req.method === 'GET' && prompt.name === 'login') return html(res, 200, loginPage(uid));
  if (req.method === 'GET') return html(res, 200, consentPage(uid, params.client_id, params.scope.split(' ')));
  switch (verb) {
    case 'login':
      return finish({ login: { accountId: (await form(req)).get('account') } });
    case 'allow':
      return finish({ consent: { grantId: await allow(provider, details) } });
    case 'deny':
      return finish({ error: 'access_denied', error_description: 'the person said no' });
    default:
      return html(res, 404, page('Not found', ''));
  }
}
