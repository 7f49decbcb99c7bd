// Reloads the page when another build of it is there than the one it was loaded from.
const build = document.currentScript.dataset.build;

function listen() {
  const events = new EventSource("/dev/reload");
  events.addEventListener("build", (event) => {
    if (event.data !== build) location.reload();
  });
  events.addEventListener("error", () => {
    // A proxy answers for a server that restarts, and the browser gives up on an answer.
    if (events.readyState === EventSource.CLOSED) setTimeout(listen, 300);
  });
}

listen();
