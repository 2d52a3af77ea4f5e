"use client";

import { useTexts } from "@/lib/texts";
import { Dialog } from "../ui/dialog";
import { PLACES } from "./places";

/** Every shortcut. */
export default function Keys({ close }: { close: () => void }) {
  const t = useTexts();
  const rows: [string, string][] = [
    ["Ctrl K", t("keys.palette")],
    ["/", t("keys.search")],
    ["n", t("keys.new")],
    ...PLACES.map((one): [string, string] => [`g ${one.go}`, t(one.label)]),
    ["Enter", t("keys.send")],
    ["Shift Enter", t("keys.line")],
    ["Esc", t("keys.close")],
    ["?", t("keys.list")],
  ];
  return (
    <Dialog open onOpenChange={close} title={t("keys.title")}>
      <dl className="divide-y">
        {rows.map(([key, text]) => (
          <div key={key} className="flex items-center justify-between py-1.5">
            <dt>{text}</dt>
            <dd className="flex gap-1">
              {key.split(" ").map((one) => (
                <kbd key={one} className="rounded border bg-surface px-1.5 text-xs">
                  {one}
                </kbd>
              ))}
            </dd>
          </div>
        ))}
      </dl>
    </Dialog>
  );
}
