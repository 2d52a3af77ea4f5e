"use client";

import { KeyRound } from "lucide-react";
import { useEffect, useState } from "react";
import { Button } from "@/components/ui/button";
import { useTexts } from "@/lib/texts";

/** Sign in with a passkey, where the browser has them. */
export function Passkey({ next }: { next: string }) {
  const t = useTexts();
  const [offered, setOffered] = useState(false);
  const [busy, setBusy] = useState(false);
  const [failed, setFailed] = useState(false);
  useEffect(() => setOffered(typeof PublicKeyCredential?.parseRequestOptionsFromJSON === "function"), []);

  async function signIn(): Promise<void> {
    setBusy(true);
    setFailed(false);
    try {
      const question = await fetch("/bff/sign-in/passkey", { method: "POST" }).then((answer) => answer.json());
      const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(question.options.publicKey ?? question.options);
      const made = (await navigator.credentials.get({ publicKey })) as PublicKeyCredential | null;
      const answer = await fetch("/bff/sign-in", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ next, passkey: { id: question.id, credential: made?.toJSON() } }),
      });
      if (!answer.ok) {
        throw new Error(String(answer.status));
      }
      location.assign((await answer.json()).next);
    } catch {
      setFailed(true);
      setBusy(false);
    }
  }

  return (
    <div className={offered ? "mt-6 space-y-3" : "invisible mt-6 space-y-3"}>
      <p className="flex items-center gap-3 text-muted text-xs before:h-px before:grow before:bg-hairline after:h-px after:grow after:bg-hairline">
        {t("sign_in.or")}
      </p>
      <Button className="h-10 w-full" onClick={signIn} disabled={busy}>
        <KeyRound aria-hidden />
        {t("sign_in.passkey")}
      </Button>
      {failed && (
        <p role="alert" className="text-failed">
          {t("sign_in.passkey_failed")}
        </p>
      )}
    </div>
  );
}
