// A real browser (Chromium, driven by puppeteer-core) in the hands of somebody who signs in and
// agrees. It prints where they came back to; with `pictures` it leaves one of each page there.
import puppeteer from "puppeteer-core";

const { address, email, password, back, chromium, pictures } = JSON.parse(process.argv[2]);
const browser = await puppeteer.launch({
  executablePath: chromium,
  headless: true,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
try {
  const page = await browser.newPage();
  const faults = [];
  // Of an answer that is no 2xx Chromium says this itself; a page that breaks its policy is told.
  const isFault = (said) => said.type() === "error" && !said.text().startsWith("Failed to load");
  page.on("console", (said) => isFault(said) && faults.push(said.text()));
  page.on("pageerror", (error) => faults.push(String(error)));
  let cameBack = null;
  await page.setRequestInterception(true);
  page.on("request", (request) => {
    if (request.url().startsWith(back)) {
      cameBack = request.url();
      request.respond({ status: 200, contentType: "text/plain", body: "back" });
    } else {
      request.continue();
    }
  });
  const picture = async (name) => pictures && page.screenshot({ path: `${pictures}/${name}.png` });
  const press = (selector) => Promise.all([page.waitForNavigation(), page.click(selector)]);

  await page.goto(address);
  await picture("sign-in");
  await page.type("#email", email);
  await page.type("#password", "not this one");
  await press("button[type=submit]");
  const refused = await page.$eval("[role=alert]", (shown) => shown.textContent);
  await picture("refused");
  await page.type("#password", password);
  await press("button[type=submit]");
  const asked = await page.$eval("h1", (shown) => shown.textContent);
  await picture("agree");
  await press("button[value=allow]");
  console.log(JSON.stringify({ cameBack, refused, asked, faults }));
} finally {
  await browser.close();
}
