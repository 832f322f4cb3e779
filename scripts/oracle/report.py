"""Opens reports in headless Chromium and prints what is wrong with them, a line of JSON for each.

    .peers/report/bin/python scripts/oracle/report.py [--screenshots DIR] REPORT..

Each report is opened in light and dark, at the width of a desktop and of a phone. The JSON has the charts with
their marks and labels, messages on the console, requests, texts with less contrast than 4.5 to 1, and what is
wider than the screen. With --screenshots, images are written as NAME-desktop.png, -dark.png and -phone.png.
"""

import argparse
import json
import pathlib
import shutil
import sys

from playwright.sync_api import sync_playwright

SIZES = {"desktop": (1200, 900, "light"), "dark": (1200, 900, "dark"), "phone": (375, 800, "light"), "phone-dark": (375, 800, "dark")}

LOOK = r"""() => {
  document.querySelectorAll('details').forEach((it) => { it.open = true; });
  // color-mix() is computed as color(srgb R G B), with parts from 0 to 1.
  const rgb = (text) => (text.match(/[\d.]+/g) || []).map((part) => Number(part) * (text.startsWith('color(') ? 255 : 1));
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((part) => {
      const c = part / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let it = element; it; it = it.parentElement) {
      const color = rgb(getComputedStyle(it).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (text && !['TITLE', 'DESC', 'STYLE'].includes(element.tagName.toUpperCase())) texts.push([element, text]);
  }
  const faint = [];
  for (const [element, text] of texts) {
    const style = getComputedStyle(element);
    const front = rgb(element instanceof SVGElement ? style.fill : style.color);
    const [a, b] = [luminance(front), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) faint.push([text, Math.round(100 * ratio) / 100]);
  }
  const charts = [...document.querySelectorAll('svg')].map((svg) => {
    const named = (svg.getAttribute('aria-labelledby') || '').split(' ').map((id) => document.getElementById(id));
    const box = svg.getBoundingClientRect();
    const outside = [...svg.querySelectorAll('text')].filter((text) => {
      const it = text.getBoundingClientRect();
      return it.left < -1 || it.right > document.documentElement.clientWidth + 1;
    });
    return {
      role: svg.getAttribute('role'),
      names: named.map((it) => (it ? it.textContent.trim() : '')),
      marks: svg.querySelectorAll('path.line, circle, rect.part, line.mean').length,
      texts: svg.querySelectorAll('text').length,
      visible: box.width > 100 && box.height > 40,
      outside: outside.map((text) => text.textContent),
    };
  });
  return {
    title: document.title,
    charts,
    faint,
    num_texts: texts.length,
    tables: document.querySelectorAll('table').length,
    sideways: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    scripts: document.scripts.length,
  };
}"""


def chromium():
    for program in ["chromium", "chromium-browser", "google-chrome"]:
        if found := shutil.which(program):
            return found
    sys.exit("report.py: error: chromium is missing; run scripts/oracle/setup-report-peers")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--screenshots", type=pathlib.Path)
    parser.add_argument("reports", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        for report in args.reports:
            for name, (width, height, scheme) in SIZES.items():
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                page = context.new_page()
                messages, requests = [], []
                page.on("console", lambda message: messages.append(message.text))
                page.on("pageerror", lambda error: messages.append(str(error)))
                page.on("request", lambda request: requests.append(request.url))
                page.goto(report.resolve().as_uri())
                if args.screenshots:
                    args.screenshots.mkdir(parents=True, exist_ok=True)
                    page.screenshot(path=args.screenshots / f"{report.stem}-{name}.png", full_page=True)
                seen = page.evaluate(LOOK)
                # The page itself and its empty icon are no requests to anywhere.
                requests = [it for it in requests if not it.startswith(("file:", "data:"))]
                print(json.dumps({"view": name, "messages": messages, "requests": requests, **seen}))
                context.close()
        browser.close()


if __name__ == "__main__":
    main()
