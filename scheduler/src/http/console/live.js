// Fetches this page again and puts in what has changed; ids say what belongs where.
(() => {
  const clock = document.getElementById('clock');
  const swap = (page) => {
    for (const part of document.querySelectorAll('[data-live]')) {
      const fresh = page.getElementById(part.id);
      if (!fresh || fresh.innerHTML === part.innerHTML) continue;
      const open = [...part.querySelectorAll('details[open]')].map((one) => one.id);
      part.replaceChildren(...fresh.childNodes);
      for (const id of open) document.getElementById(id)?.setAttribute('open', '');
    }
    clock.replaceChildren(...page.getElementById('clock').childNodes);
    document.body.dataset.every = page.body.dataset.every;
    document.body.dataset.refreshed = String(Number(document.body.dataset.refreshed || 0) + 1);
  };
  const turn = async () => {
    try {
      if (!document.hidden) {
        const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
        if (!answer.ok) throw new Error(String(answer.status));
        swap(new DOMParser().parseFromString(await answer.text(), 'text/html'));
      }
    } catch {
      clock.textContent = 'The server does not answer; what is shown is old.';
    }
    wait();
  };
  const wait = () => {
    const every = Number(document.body.dataset.every);
    if (every > 0) setTimeout(turn, every * 1000);
  };
  wait();
})();
