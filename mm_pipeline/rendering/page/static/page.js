// Keeps an open page true: asks for it again, and turns what is too old UNKNOWN, also when nobody answers any more.
"use strict";
(() => {
  const live = () => document.getElementById("live");
  const staleAfter = () => Number(live().dataset.staleAfterS);
  let loadedAt = Date.now();
  let begun = performance.now();

  // The larger of two clocks: one may stand still while the machine sleeps, the other may be put back.
  const elapsed = () => Math.max(Date.now() - loadedAt, performance.now() - begun) / 1000;

  const turnUnknown = (part) => {
    part.dataset.state = "UNKNOWN";
    for (const shown of part.querySelectorAll("[data-shown]")) shown.textContent = "UNKNOWN";
    for (const fresh of part.querySelectorAll("[data-fresh]")) fresh.hidden = true;
    for (const stale of part.querySelectorAll("[data-stale]")) stale.hidden = false;
  };

  const check = () => {
    for (const part of document.querySelectorAll("[data-age-s]")) {
      if (!(Number(part.dataset.ageS) + elapsed() <= staleAfter()) && part.dataset.state !== "UNKNOWN") {
        turnUnknown(part);
        document.title = "UNKNOWN";
      }
    }
  };

  const isAnswering = () => document.querySelector("details.answer[open]") !== null;

  const look = async () => {
    const connection = document.getElementById("connection");
    try {
      const askedAt = Date.now(), asked = performance.now();
      const answer = await fetch(location.href, { cache: "no-store", credentials: "same-origin" });
      if (answer.redirected) { location.reload(); return; }
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (found.getElementById("live") === null) throw new Error("no page");
      connection.hidden = true;
      if (isAnswering()) return;
      const open = [...document.querySelectorAll("details[open][id]")].map((one) => one.id);
      live().replaceWith(found.getElementById("live"));
      for (const id of open) { const same = document.getElementById(id); if (same) same.open = true; }
      document.title = found.title;
      loadedAt = askedAt;
      begun = asked;
    } catch {
      connection.hidden = false;
    }
    check();
  };

  const repeat = async () => { await look(); setTimeout(repeat, Number(live().dataset.refreshS) * 1000); };
  setTimeout(repeat, Number(live().dataset.refreshS) * 1000);
  setInterval(check, 1000);
  document.addEventListener("visibilitychange", check);
  addEventListener("pageshow", check);
  check();
})();
