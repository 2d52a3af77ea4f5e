// Starts the built application on the socket that systemd holds: connections wait while it restarts, none is refused.
// Without such a socket it listens where HOSTNAME and PORT say (systemd's sd_listen_fds(3)).
import { Server } from "node:net";

const given = process.env.LISTEN_PID === String(process.pid) ? Number(process.env.LISTEN_FDS ?? 0) : 0;
const listen = Server.prototype.listen;

if (given > 0) {
  // Descriptor 3 is the first; a second one is the same port on the loopback address, for the gate.
  Server.prototype.listen = function (...rest) {
    Server.prototype.listen = listen;
    const done = rest.findLast((one) => typeof one === "function");
    for (let fd = 4; fd < 3 + given; fd++) {
      const further = new Server((socket) => this.emit("connection", socket));
      listen.call(further, { fd });
      this.once("close", () => further.close());
    }
    return listen.call(this, { fd: 3 }, done);
  };
}

await import("./server.js");
