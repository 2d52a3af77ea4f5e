"use client";

import { useEffect, useState } from "react";
import { currentTheme, setLanguage, setTheme, type Theme } from "@/lib/preferences";
import { useLanguage, useTexts } from "@/lib/texts";

const THEMES: Theme[] = ["system", "light", "dark"];
const LANGUAGES = [
  ["en", "English"],
  ["de", "Deutsch"],
] as const;

export function Appearance() {
  const t = useTexts();
  const code = useLanguage();
  const [theme, put] = useState<Theme | null>(null);
  useEffect(() => put(currentTheme()), []);
  return (
    <div className="space-y-8">
      <fieldset>
        <legend className="mb-2 font-medium">{t("theme.title")}</legend>
        <div className="flex flex-wrap gap-2">
          {THEMES.map((one) => (
            <Choice
              key={one}
              name="theme"
              checked={theme === one}
              onChange={() => {
                setTheme(one);
                put(one);
              }}
            >
              {t(`theme.${one}`)}
            </Choice>
          ))}
        </div>
      </fieldset>
      <fieldset>
        <legend className="mb-2 font-medium">{t("language.title")}</legend>
        <div className="flex flex-wrap gap-2">
          {LANGUAGES.map(([one, name]) => (
            <Choice key={one} name="language" checked={code === one} onChange={() => setLanguage(one)}>
              <span lang={one}>{name}</span>
            </Choice>
          ))}
        </div>
      </fieldset>
    </div>
  );
}

function Choice({
  name,
  checked,
  onChange,
  children,
}: {
  name: string;
  checked: boolean;
  onChange: () => void;
  children: React.ReactNode;
}) {
  return (
    <label className="flex h-9 cursor-pointer items-center gap-2 rounded-md border bg-raised px-3 hover:bg-hover has-checked:border-accent has-checked:bg-accent-soft has-focus-visible:outline-2 has-focus-visible:outline-accent has-focus-visible:outline-offset-2 pointer-coarse:h-10">
      <input type="radio" name={name} checked={checked} onChange={onChange} className="accent-accent" />
      {children}
    </label>
  );
}
