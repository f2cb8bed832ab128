// One scene on the WebSocket interface that browsers have, and with it ws and undici. Needs nothing but its arguments, so
// that its text can be sent into a page.

/** `connect({protocols, bearer})` makes the socket. Resolves to what README.md says a client prints. */
export function play(connect, script) {
  const steps = script.split('\n').filter(Boolean).map((line) => /^(\S+) ?(.*)$/.exec(line).slice(1));
  const asked = (verb) => steps.find(([name]) => name === verb)?.[1];
  const seen = { protocol: '', code: 0, reason: '', status: 0, messages: [] };
  const socket = connect({ protocols: asked('offer')?.split(','), bearer: asked('bearer') });
  let at = 0, open = false;

  const go = () => {
    for (; open && at < steps.length; ++at) {
      const [verb, text] = steps[at];
      if (verb === 'send') socket.send(text);
      else if (verb === 'await' && !seen.messages.some((message) => message.includes(text))) return;
      else if (verb === 'closed') return;
      else if (verb === 'close') {
        const [, code, reason] = /^(\d*) ?(.*)$/.exec(text);
        if (code) socket.close(Number(code), reason);
        else socket.close();
      }
    }
  };
  return new Promise((done) => {
    socket.onopen = () => { open = true; seen.protocol = socket.protocol; go(); };
    socket.onmessage = ({ data }) => { seen.messages.push(data); go(); };
    socket.onerror = () => { if (!open && !socket.refused) done(seen); };       // undici has no close after it
    socket.onclose = ({ code, reason }) => {
      if (open) Object.assign(seen, { code, reason });
      open = false;
      done(seen);
    };
    if (socket.refused) socket.refused.then((status) => { seen.status = status; done(seen); });
  });
}
