import { cpSync, existsSync } from "node:fs";
import type { NextConfig } from "next";

// What pdf.js fetches for some documents: character maps, fonts, decoders. It comes from our own address.
const PDF = `${import.meta.dirname}/node_modules/pdfjs-dist`;
if (process.env.BUILD_ID && existsSync(PDF)) {
  for (const name of ["cmaps", "iccs", "standard_fonts", "wasm"]) {
    cpSync(`${PDF}/${name}`, `${import.meta.dirname}/public/pdf/${name}`, { recursive: true });
  }
}

const config: NextConfig = {
  output: "standalone",
  outputFileTracingRoot: import.meta.dirname,
  // NGINX compresses, and a stream must not wait in a buffer of ours.
  compress: false,
  poweredByHeader: false,
  reactStrictMode: true,
  // Types are checked by `make lint`, once for a content.
  typescript: { ignoreBuildErrors: true },
  images: { unoptimized: true },
  outputFileTracingExcludes: { "*": ["node_modules/@img/**", "node_modules/sharp/**", "node_modules/typescript/**"] },
  // The same content shall give the same build, whenever and wherever it is made.
  generateBuildId: () => process.env.BUILD_ID ?? "development",
  turbopack: { root: import.meta.dirname },
};

export default config;
