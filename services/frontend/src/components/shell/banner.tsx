"use client";

import { usePathname } from "next/navigation";
import { useEffect } from "react";
import { useOnline } from "@/lib/status";
import { useTexts } from "@/lib/texts";

const AGAIN_MS = 3000;

/** One line that says what is away; it goes by itself. */
export function Banner() {
  const t = useTexts();
  const path = usePathname();
  const { state, reached, lost } = useOnline();
  useEffect(() => {
    const gone = () => lost();
    window.addEventListener("offline", gone);
    return () => window.removeEventListener("offline", gone);
  }, [lost]);
  useEffect(() => {
    if (state !== "offline") {
      return;
    }
    const timer = setInterval(
      () =>
        void fetch("/health").then(
          (answer) => answer.ok && reached(),
          () => undefined,
        ),
      AGAIN_MS,
    );
    return () => clearInterval(timer);
  }, [state, reached]);
  if (state === "well") {
    return null;
  }
  return (
    <div
      role="status"
      className="flex items-center justify-center gap-3 bg-waits-soft px-4 py-2 text-center text-waits"
    >
      <span>{t(state === "offline" ? "app.offline" : "app.signed_out")}</span>
      {state === "signed-out" && (
        <a className="font-medium underline underline-offset-4" href={`/sign-in?next=${encodeURIComponent(path)}`}>
          {t("app.sign_in_again")}
        </a>
      )}
    </div>
  );
}
