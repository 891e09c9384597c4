// Compiles the token templates into ../artifact, where the Go package embeds them.
//
//   node build.mjs          writes the artifacts
//   node build.mjs --check  writes nothing; exits 1 if what is checked in differs
//
// The output depends on src/, on this file and on what package-lock.json pins, and on nothing else.
import { readFileSync, writeFileSync, mkdirSync, existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import solc from "solc";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "artifact");
const require = createRequire(import.meta.url);

const templates = [
  { id: "tpl_qrc20_v1", contract: "QRC20V1" },
  { id: "tpl_qrc20_regulated_v1", contract: "QRC20RegulatedV1" },
];

const settings = {
  // Quantum Chain forks to London: no PUSH0.
  evmVersion: "london",
  optimizer: { enabled: true, runs: 200 },
  // No metadata hash, so that the code follows from the source's meaning and not from its comments or paths.
  metadata: { bytecodeHash: "none", appendCBOR: false },
};

function compile() {
  const sources = {};
  for (const name of readdirSync(join(here, "src")).sort()) {
    sources[`src/${name}`] = { content: readFileSync(join(here, "src", name), "utf8") };
  }
  const input = {
    language: "Solidity",
    sources,
    settings: {
      ...settings,
      outputSelection: {
        "*": { "": ["ast"], "*": ["abi", "evm.bytecode", "evm.deployedBytecode"] },
      },
    },
  };
  const imports = (path) => {
    try {
      return { contents: readFileSync(require.resolve(path), "utf8") };
    } catch {
      return { error: `${path} is not installed` };
    }
  };
  const output = JSON.parse(solc.compile(JSON.stringify(input), { import: imports }));
  for (const e of output.errors ?? []) {
    console.error(e.formattedMessage);
  }
  if (output.errors?.length) {
    console.error("not compiled: errors and warnings are both refused");
    process.exit(1);
  }
  return output;
}

// nameOf finds which state variable an AST id is; immutableReferences are keyed by it.
function nameOf(output, id) {
  for (const source of Object.values(output.sources)) {
    for (const contract of source.ast.nodes) {
      for (const node of contract.nodes ?? []) {
        if (node.nodeType === "VariableDeclaration" && node.id === id) return node.name.replace(/^_/, "");
      }
    }
  }
  throw new Error(`no variable has AST id ${id}`);
}

function artifacts(output, { id, contract }) {
  const c = output.contracts[`src/${contract}.sol`][contract];
  const immutables = {};
  for (const [ast, places] of Object.entries(c.evm.deployedBytecode.immutableReferences)) {
    const name = nameOf(output, Number(ast));
    if (immutables[name]) throw new Error(`two immutables are called ${name}`);
    immutables[name] = places.map((p) => p.start).sort((a, b) => a - b);
    if (places.some((p) => p.length !== 32)) throw new Error(`immutable ${name} is not one word`);
  }
  const code = {
    template: id,
    contract,
    compiler: solc.version(),
    openzeppelin: require("@openzeppelin/contracts/package.json").version,
    settings,
    immutables: Object.fromEntries(Object.entries(immutables).sort()),
    creation: "0x" + c.evm.bytecode.object,
    runtime: "0x" + c.evm.deployedBytecode.object,
  };
  const text = (v) => JSON.stringify(v, null, 1) + "\n";
  return { [`${id}.abi.json`]: text(c.abi), [`${id}.code.json`]: text(code) };
}

const check = process.argv.includes("--check");
const output = compile();
let differs = false;
mkdirSync(out, { recursive: true });
for (const t of templates) {
  for (const [name, text] of Object.entries(artifacts(output, t))) {
    const file = join(out, name);
    if (!check) {
      writeFileSync(file, text);
    } else if (!existsSync(file) || readFileSync(file, "utf8") !== text) {
      console.error(`chain/qrc20/artifact/${name} does not follow from chain/qrc20/contracts`);
      differs = true;
    }
  }
}
if (differs) process.exit(1);
