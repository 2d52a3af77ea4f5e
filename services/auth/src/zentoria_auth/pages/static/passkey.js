// Passkeys need a script: the browser's keys are reached by nothing else. It fills a form of the page and sends it.
"use strict";
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
  const text = (buffer) => {
    let out = "";
    for (const one of new Uint8Array(buffer)) out += String.fromCharCode(one);
    return btoa(out).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const described = (list) => (list || []).map((one) => ({ ...one, id: bytes(one.id) }));

  async function asked(path, token) {
    const answer = await fetch(path, { method: "POST", headers: { "X-Form-Token": token } });
    if (!answer.ok || !(answer.headers.get("content-type") || "").includes("json")) throw new Error("asked");
    return answer.json();
  }

  async function made(options) {
    const publicKey = {
      ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) },
      excludeCredentials: described(options.excludeCredentials),
    };
    const found = await navigator.credentials.create({ publicKey });
    const response = found.response;
    return {
      id: found.id, rawId: text(found.rawId), type: found.type,
      response: {
        clientDataJSON: text(response.clientDataJSON), attestationObject: text(response.attestationObject),
        transports: response.getTransports ? response.getTransports() : [],
      },
    };
  }

  async function shown(options) {
    const publicKey = {
      ...options, challenge: bytes(options.challenge), allowCredentials: described(options.allowCredentials),
    };
    const found = await navigator.credentials.get({ publicKey });
    const response = found.response;
    return {
      id: found.id, rawId: text(found.rawId), type: found.type,
      response: {
        clientDataJSON: text(response.clientDataJSON), authenticatorData: text(response.authenticatorData),
        signature: text(response.signature), userHandle: response.userHandle ? text(response.userHandle) : null,
      },
    };
  }

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    if (!window.PublicKeyCredential) continue;
    for (const one of document.querySelectorAll("[data-passkey-part]")) one.hidden = false;
    for (const one of document.querySelectorAll("[data-passkey-missing]")) one.hidden = true;
    const trouble = document.querySelector("[data-passkey-trouble]");
    form.addEventListener("submit", async (event) => {
      if (form.elements.credential.value) return;
      event.preventDefault();
      if (trouble) trouble.hidden = true;
      const button = form.querySelector("button");
      button.disabled = true;
      try {
        const question = await asked(form.dataset.options, form.elements.form_token.value);
        const answer = await (form.dataset.passkey === "create" ? made : shown)(question.options);
        form.elements.question.value = question.id;
        form.elements.credential.value = JSON.stringify(answer);
        form.submit();
      } catch (error) {
        button.disabled = false;
        if (trouble) trouble.hidden = false;
      }
    });
  }
})();
