// Fetches the page again and puts its <main> in place of this one's, as long as somebody looks at it.
(() => {
  const FAST_MS = 1500, SLOW_MS = 5000;
  const away = document.getElementById("away");
  let shown = null;
  const refresh = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(10000) });
        if (!answer.ok) throw new Error(answer.status);
        if (answer.redirected) return location.replace(answer.url);
        const text = await answer.text();
        if (text !== shown) {
          const fresh = new DOMParser().parseFromString(text, "text/html");
          document.querySelector("main").replaceWith(fresh.querySelector("main"));
          document.title = fresh.title;
          shown = text;
        }
        away.hidden = true;
      } catch {
        away.hidden = false;
      }
    }
    setTimeout(refresh, document.querySelector("[data-live]") ? FAST_MS : SLOW_MS);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) shown = null; });
  setTimeout(refresh, FAST_MS);
})();
