// Keeps a page up to date: when the farm says that something has changed, the page is asked for
// once more, and its parts that differ are put in place. Without scripts a reload does the same.
"use strict";
(() => {
  const main = document.querySelector("main[data-events]");
  if (!main) return;

  // Each part as the farm made it, whatever has been opened or played in it since.
  const made = new WeakMap();
  const parts = (page) => page.querySelectorAll("[data-part]");
  for (const part of parts(document)) made.set(part, part.innerHTML);

  // Somebody types there.
  const isHeld = (part) => {
    const at = document.activeElement;
    return part.contains(at) && at.matches("input, select, textarea") && at.type !== "checkbox";
  };

  function put(fresh) {
    const old = document.getElementById(fresh.id);
    const html = fresh.innerHTML;
    if (!old || made.get(old) === html || isHeld(old)) return;
    made.set(old, html);
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    old.replaceChildren(...fresh.childNodes);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  // A busy farm changes all the time; nobody looks that often.
  const PAUSE = 700;
  let asking = false;
  let again = false;
  async function refresh() {
    again = true;
    if (asking) return;
    asking = true;
    while (again) {
      again = false;
      try {
        const answer = await fetch(location.pathname + location.search, { cache: "no-store" });
        if (answer.status === 401) return location.reload();
        if (!answer.ok) continue;
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        parts(page).forEach(put);
        document.title = page.title;
      } catch {
        // The farm is away; the event source says so and asks again.
      }
      await new Promise((done) => setTimeout(done, PAUSE));
    }
    asking = false;
  }

  const link = document.getElementById("link");
  const say = (text) => {
    if (link.textContent !== text) link.textContent = text;
  };

  let source = null;
  let over = false;
  function listen() {
    if (source || over || document.hidden) return;
    source = new EventSource(main.dataset.events);
    source.onopen = () => say("");
    source.onmessage = refresh;
    source.addEventListener("over", () => {
      over = true;
      stop();
      refresh();
    });
    source.onerror = () => {
      say("The coordinator does not answer; the page goes on when it is back.");
      // A refusal is final for the browser, not for us.
      if (source && source.readyState === EventSource.CLOSED) {
        stop();
        setTimeout(listen, 5000);
      }
    };
  }
  function stop() {
    source?.close();
    source = null;
  }
  // A page that nobody sees asks for nothing.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
  listen();
})();
