"use client";

import { useMemo } from "react";
import { useLanguage } from "./texts";

const STEPS: [Intl.RelativeTimeFormatUnit, number][] = [
  ["year", 31_536_000],
  ["month", 2_592_000],
  ["week", 604_800],
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/** Dates, sizes and numbers in the language of the page. */
export function useFormat() {
  const code = useLanguage();
  return useMemo(() => {
    const relative = new Intl.RelativeTimeFormat(code, { numeric: "auto", style: "short" });
    const exact = new Intl.DateTimeFormat(code, { dateStyle: "medium", timeStyle: "medium" });
    const day = new Intl.DateTimeFormat(code, { dateStyle: "medium" });
    const number = new Intl.NumberFormat(code, { maximumFractionDigits: 1 });
    return {
      ago(text: string): string {
        const seconds = (Date.parse(text) - Date.now()) / 1000;
        const [unit, length] = STEPS.find(([, one]) => Math.abs(seconds) >= one) ?? ["second", 1];
        return unit === "second" ? relative.format(0, "minute") : relative.format(Math.round(seconds / length), unit);
      },
      exact: (text: string) => exact.format(new Date(text)),
      day: (text: string) => day.format(new Date(text)),
      size(bytes: number): string {
        const step = bytes < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(bytes) / 10));
        return `${number.format(bytes / 1024 ** step)} ${UNITS[step]}`;
      },
      number: (value: number) => number.format(value),
    };
  }, [code]);
}
