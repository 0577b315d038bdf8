// Shows how far a long piece of work is, every second, until it gets to another state.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const panel = document.querySelector("[data-progress]");
  if (!panel) return;
  const bar = panel.querySelector("progress");

  function show(now) {
    for (const name of ["done", "total", "credits", "skipped"]) {
      const part = panel.querySelector(`[data-${name}]`);
      if (part && name in now) part.textContent = now[name].toLocaleString("en-US");
    }
    if ("total" in now) {
      bar.max = now.total;
      bar.value = now.done;
    }
  }

  async function ask() {
    try {
      const answer = await fetch(panel.dataset.progress, { headers: { "X-By-Itself": "yes" } });
      if (!answer.ok || answer.redirected) return; // Signed out, say: what is shown stays.
      const now = await answer.json();
      show(now);
      if (now.state !== panel.dataset.state) {
        location.reload();
        return;
      }
    } catch {
      // The network is away for a moment.
    }
    setTimeout(ask, document.hidden ? 10000 : 1000);
  }

  setTimeout(ask, 500);
});
