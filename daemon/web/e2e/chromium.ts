// Debian's Chromium under playwright-core, watched: a request to another host, a broken content policy or a script error
// is kept as a fault and fails the test that looks.
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from "playwright-core";

const ARGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export function launch(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    headless: true,
    args: ARGS,
  });
}

export interface Watched {
  context: BrowserContext;
  page: Page;
  /** Everything that must never happen on this page. */
  faults: string[];
}

export async function open(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 900 },
    ignoreHTTPSErrors: true,
    timezoneId: "Europe/Berlin",
    locale: "en-GB",
    ...options,
  });
  const page = await context.newPage();
  const faults: string[] = [];
  const own = new URL(url).origin;
  page.on("request", (request) => {
    const target = request.url();
    if (!target.startsWith(own) && !/^(data|blob|about):/.test(target))
      faults.push(`request to another host: ${target}`);
  });
  page.on("pageerror", (error) => faults.push(`script error: ${error.message}`));
  page.on("console", (message) => {
    if (/content security policy/i.test(message.text())) faults.push(`policy: ${message.text()}`);
  });
  await page.goto(url);
  return { context, page, faults };
}
