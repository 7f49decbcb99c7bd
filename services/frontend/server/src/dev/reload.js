// Reloads the page when another build of it is there than the one it was loaded from. A browser opens six
// connections to an origin, so all its tabs share one stream, in a worker where there are any.
let events;

function listen(use) {
  events?.close();
  events = new EventSource("/dev/reload");
  events.addEventListener("build", (event) => use(event.data));
  events.addEventListener("error", ({ target }) => {
    // A proxy answers for a server that restarts, and the browser gives up on an answer.
    if (target.readyState === EventSource.CLOSED) setTimeout(listen, 300, use);
  });
}

if (self.document) {
  const { src, dataset } = document.currentScript;
  const use = (build) => {
    if (build === dataset.build) return;
    // Once for each build.
    dataset.build = build;
    location.reload();
  };
  if (self.SharedWorker) new SharedWorker(src).port.onmessage = (event) => use(event.data);
  else listen(use);
} else {
  const ports = [];
  self.onconnect = (event) => {
    ports.push(event.ports[0]);
    // A new stream begins with the current build.
    listen((build) => ports.forEach((port) => port.postMessage(build)));
  };
}
