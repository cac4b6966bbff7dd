#!/usr/bin/env node
// A Solidity compiler for Forge and py-solc-x, called as `solc-<version>`: the native compiler of that
// very version when this machine has it (SOLC_<version>, Foundry's or solcx's download, or PATH), and
// otherwise the npm build, which emits the same bytecode. Answers --version and --standard-json.
"use strict";
const {spawnSync} = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");

const version = path.basename(process.argv[1]).replace(/^solc-/, "");
const args = process.argv.slice(2);

function native() {
  const home = os.homedir();
  const candidates = [
    process.env["SOLC_" + version.replaceAll(".", "_")],
    path.join(home, ".svm", version, "solc-" + version),
    path.join(home, ".local", "share", "svm", version, "solc-" + version),
    path.join(home, ".solcx", "solc-v" + version),
    ...(process.env.PATH || "").split(path.delimiter).map((dir) => path.join(dir, "solc")),
  ];
  for (const file of candidates) {
    if (!file || !fs.existsSync(file)) continue;
    const seen = spawnSync(file, ["--version"], {encoding: "utf8"});
    if (seen.status === 0 && seen.stdout.includes("Version: " + version + "+")) return file;
  }
  return undefined;
}

const compiler = native();
if (compiler) {
  process.exit(spawnSync(compiler, args, {stdio: "inherit"}).status ?? 1);
}
const solc = require("solc-" + version);
if (args.includes("--version")) {
  console.log("solc, the solidity compiler commandline interface\nVersion: " + solc.version());
} else if (args.includes("--standard-json")) {
  process.stdout.write(solc.compile(fs.readFileSync(0, "utf8")));
} else {
  console.error("solc-" + version + ": expected --version or --standard-json, saw: " + args.join(" "));
  process.exit(2);
}
