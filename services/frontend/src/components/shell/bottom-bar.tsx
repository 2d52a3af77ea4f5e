"use client";

import Link from "next/link";
import { usePathname } from "next/navigation";
import { cn } from "@/lib/cn";
import { usePending } from "@/lib/queries";
import { useTexts } from "@/lib/texts";
import { BOTTOM, PLACES } from "./places";

/** Where one can go, on small screens. */
export function BottomBar() {
  const t = useTexts();
  const path = usePathname();
  const waiting = usePending().data?.length ?? 0;
  return (
    <nav aria-label={t("nav.main")} className="safe-bottom border-t bg-surface md:hidden">
      <ul className="flex">
        {PLACES.filter((one) => BOTTOM.includes(one.href)).map(({ href, label, icon: Icon }) => {
          const here = path.startsWith(href);
          return (
            <li key={href} className="min-w-0 grow basis-0">
              <Link
                href={href}
                aria-current={here ? "page" : undefined}
                className={cn(
                  "relative flex flex-col items-center gap-0.5 py-2 text-muted text-xs",
                  here && "font-medium text-text",
                )}
              >
                <Icon aria-hidden className="size-5 stroke-[1.5]" />
                <span className="max-w-full truncate px-1">{t(label)}</span>
                {href === "/approvals" && waiting > 0 && (
                  <span className="absolute top-1 left-1/2 ml-2 rounded-full bg-waits-soft px-1.5 text-waits">
                    {waiting}
                    <span className="sr-only"> {t("approvals.waiting")}</span>
                  </span>
                )}
              </Link>
            </li>
          );
        })}
      </ul>
    </nav>
  );
}
