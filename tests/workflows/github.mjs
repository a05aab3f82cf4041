// GitHub's own parser and expression evaluator, asked by Python: one JSON request on stdin, one answer on stdout.
//
//   {files: {path: text}, parse: [path]}          -> {path: [error]}
//   {files: {path: text}, run: [scenario]}        -> [{triggered, jobs: [...], errors: [...]}]
//
// A scenario is an event and what each job would answer; the answer is which jobs run, with what they hold.
// Only conditions, matrices, inputs and outputs are evaluated: no step is run.

import {convertWorkflowTemplate, NoOperationTraceWriter, parseWorkflow} from "@actions/workflow-parser";
import {convertActionTemplate, parseAction} from "@actions/workflow-parser/actions/index";
import {data, Evaluator, Lexer, Parser} from "@actions/expressions";
import {parse as yaml} from "yaml";
import {readFileSync} from "node:fs";

const OURS = "tidegate/tidegate/";
const LEVELS = ["none", "read", "write"];
const STATUS = ["success", "failure", "always", "cancelled"];
const {files, parse = [], run = []} = JSON.parse(readFileSync(0, "utf-8"));

// -- parsing ---------------------------------------------------------------------------------------------------

function ours(uses) {
  if (uses.startsWith("$/")) return uses.slice(2);
  return uses.startsWith(OURS) ? uses.slice(OURS.length).split("@")[0] : null;
}

const provider = {
  async getFileContent(reference) {
    const text = files[reference.path];
    if (text === undefined) throw new Error(`there is no ${reference.path}`);
    return {name: reference.path, content: text};
  },
};

async function errorsOf(path) {
  const file = {name: path, content: files[path]};
  const trace = new NoOperationTraceWriter();
  if (/action\.ya?ml$/.test(path)) {
    const parsed = parseAction(file, trace);
    if (parsed.value) convertActionTemplate(parsed.context, parsed.value);
    return parsed.context.errors.getErrors().map((error) => error.message);
  }
  const parsed = parseWorkflow(file, trace);
  if (!parsed.value) return parsed.context.errors.getErrors().map((error) => error.message);
  await convertWorkflowTemplate(parsed.context, parsed.value, provider, {
    fetchReusableWorkflowDepth: 1,
    maxReusableWorkflowDepth: 10,
    errorPolicy: 1,
  });
  return parsed.context.errors.getErrors().map((error) => error.message);
}

// -- evaluating ------------------------------------------------------------------------------------------------

function evaluate(expression, contexts, functions = {}) {
  const definitions = Object.entries(functions).map(([name, value]) => ({
    name, minArgs: 0, maxArgs: 255, call: () => new data.BooleanData(value),
  }));
  const {tokens} = new Lexer(expression).lex();
  const parsed = new Parser(tokens, Object.keys(contexts), definitions).parse();
  const known = JSON.parse(JSON.stringify(contexts), data.reviver);
  const found = new Evaluator(parsed, known, new Map(definitions.map((each) => [each.name, each]))).evaluate();
  return {truthy: truthy(found), text: found.coerceString(), value: JSON.parse(JSON.stringify(found, data.replacer))};
}

function truthy(found) {
  const value = JSON.parse(JSON.stringify(found, data.replacer));
  return Array.isArray(value) || (value !== null && typeof value === "object") || Boolean(value);
}

// The value of a YAML scalar: the expression's own if it is nothing else, text with expressions otherwise.
function filled(value, contexts) {
  if (Array.isArray(value)) return value.map((each) => filled(each, contexts));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, filled(each, contexts)]));
  }
  if (typeof value !== "string" || !value.includes("${{")) return value;
  const pieces = value.split(/(\$\{\{(?:[^'}]|'[^']*'|\}(?!\}))*\}\})/);
  const whole = pieces.length === 3 && !pieces[0].trim() && !pieces[2].trim();
  if (whole) return evaluate(pieces[1].slice(3, -2), contexts).value;
  return pieces.map((each, index) => (index % 2 ? evaluate(each.slice(3, -2), contexts).text : each)).join("");
}

const documents = {};

function read(path) {
  documents[path] ??= yaml(files[path]);
  return documents[path];
}

// -- running ---------------------------------------------------------------------------------------------------

function matches(list, name) {
  return list === undefined || [list].flat().some((pattern) => pattern === name || pattern === "**");
}

function triggered(on, {event, github}) {
  const events = typeof on === "string" ? {[on]: null} : Array.isArray(on) ? Object.fromEntries(on.map((e) => [e, null])) : on;
  if (!(event in events)) return false;
  const filter = events[event] ?? {};
  if (event === "push") {
    const tag = github.ref.startsWith("refs/tags/");
    if (filter.tags && !filter.branches) return tag && filter.tags.some((p) => new RegExp(`^${p.replaceAll(".", "\\.").replaceAll("*", "[^/]*")}$`).test(github.ref_name));
    return !tag && matches(filter.branches, github.ref_name);
  }
  if (event === "workflow_run") return matches(filter.workflows, github.event.workflow_run.name);
  return true;
}

function ordered(jobs) {
  const done = [];
  const visit = (id, above = []) => {
    if (above.includes(id)) throw new Error(`${id} needs itself`);
    if (done.includes(id)) return;
    for (const other of [jobs[id].needs ?? []].flat()) visit(other, [...above, id]);
    done.push(id);
  };
  Object.keys(jobs).forEach((id) => visit(id));
  return done;
}

function ancestors(jobs, id) {
  const direct = [jobs[id].needs ?? []].flat();
  return [...new Set([...direct, ...direct.flatMap((other) => ancestors(jobs, other))])];
}

function legsOf(strategy, contexts) {
  if (!strategy?.matrix) return [null];
  const {include = [], exclude, ...axes} = filled(strategy.matrix, contexts);
  if (exclude) throw new Error("exclude is not evaluated");
  let legs = Object.keys(axes).length ? [{}] : [];
  for (const [name, values] of Object.entries(axes)) legs = legs.flatMap((leg) => values.map((value) => ({...leg, [name]: value})));
  return [...legs, ...include];
}

// A leg is named by its first value.
function shown(leg) {
  return leg === null ? "" : `[${Object.values(leg)[0]}]`;
}

// What GitHub makes of a token in a run that a fork's pull request started.
function lowered(permissions, scenario) {
  if (!scenario.fork) return permissions;
  const read = ([scope, level]) => [scope, scope === "id-token" ? "none" : level === "write" ? "read" : level];
  return Object.fromEntries(Object.entries(permissions).map(read));
}

function capped(asks, limit) {
  if (limit === null) return asks;
  return Object.fromEntries(
    Object.entries(asks).map(([scope, level]) => [scope, LEVELS[Math.min(LEVELS.indexOf(level), LEVELS.indexOf(limit[scope] ?? "none"))]]),
  );
}

function inputsOf(call, given, where, errors) {
  const declared = call?.inputs ?? {};
  for (const name of Object.keys(given)) if (!(name in declared)) errors.push(`${where}: no input ${name}`);
  return Object.fromEntries(
    Object.entries(declared).map(([name, input]) => {
      const empty = {string: "", boolean: false, number: 0}[input.type];
      let value = name in given ? given[name] : (input.default ?? empty);
      if (input.type === "string" && (value === null || ["number", "boolean"].includes(typeof value))) value = String(value ?? "");
      if (input.required && !(name in given)) errors.push(`${where}: ${name} is missing`);
      if (typeof value !== input.type) errors.push(`${where}: ${name} is a ${typeof value}, not a ${input.type}`);
      return [name, value];
    }),
  );
}

function answered(scenario, path, id) {
  const answers = scenario.answers ?? {};
  return answers[path] ?? answers[path.replaceAll(/\[[^\]]*\]/g, "")] ?? answers[id] ?? {};
}

function worst(results) {
  for (const result of ["cancelled", "failure", "success"]) if (results.includes(result)) return result;
  return "skipped";
}

// GitHub's success() looks at every job before this one, not only at those it needs. What that means for jobs
// within a call, and behind one, is written down nowhere; reports differ (actions/runner#2205, camunda/camunda#39521).
// So the worst is assumed: a job that was skipped in a called workflow, or before the call, counts.
function play(path, prefix, inputs, limit, state, above = []) {
  const workflow = read(path);
  const {scenario, jobs: told, errors} = state;
  const jobs = workflow.jobs ?? {};
  const done = {};
  for (const id of ordered(jobs)) {
    const job = jobs[id];
    const needs = Object.fromEntries([job.needs ?? []].flat().map((other) => [other, done[other]]));
    const contexts = {github: scenario.github, inputs, vars: scenario.vars ?? {}, needs, strategy: {}, matrix: {}, secrets: {}, jobs: {}};
    const before = [...above, ...ancestors(jobs, id).flatMap((other) => done[other].all)];
    const status = {
      always: true,
      cancelled: state.cancelled,
      failure: !state.cancelled && before.includes("failure"),
      success: !state.cancelled && before.every((result) => result === "success"),
    };
    const condition = String(job.if ?? "success()").replace(/^\s*\$\{\{([\s\S]*)\}\}\s*$/, "$1");
    const says = new RegExp(`\\b(${STATUS.join("|")})\\s*\\(`).test(condition.replaceAll(/'(?:[^']|'')*'/g, "''"));
    const runs = evaluate(says ? condition : `success() && (${condition})`, contexts, status).truthy;
    const here = `${prefix}${id}`;
    if (!runs) {
      done[id] = {result: "skipped", outputs: {}, all: ["skipped"]};
      told.push({path: here, result: "skipped"});
      continue;
    }
    const asks = job.permissions ?? workflow.permissions ?? limit ?? {};
    const legs = legsOf(job.strategy, contexts);
    if (!legs.length) errors.push(`${here}: the matrix is empty`);
    const results = [];
    const all = [];
    const outputs = {};
    for (const leg of legs) {
      const where = `${here}${shown(leg)}`;
      const with_leg = {...contexts, matrix: leg ?? {}};
      for (const [scope, level] of Object.entries(asks)) {
        if (limit !== null && LEVELS.indexOf(level) > LEVELS.indexOf(limit[scope] ?? "none")) errors.push(`${where}: asks ${scope}: ${level}`);
      }
      const permissions = capped(asks, limit);
      const concurrency = filled(job.concurrency, with_leg);
      if (job.uses) {
        const callee = ours(job.uses);
        if (!(callee in files)) throw new Error(`${where}: there is no ${job.uses}`);
        const call = read(callee).on.workflow_call;
        told.push({path: where, result: "called", permissions, concurrency});
        const inner = play(callee, `${where}/`, inputsOf(call, filled(job.with ?? {}, with_leg), where, errors), permissions, state, before);
        all.push(...Object.values(inner).flatMap((each) => each.all));
        results.push(worst(Object.values(inner).map((each) => each.result)));
        for (const [name, output] of Object.entries(call?.outputs ?? {})) {
          const value = evaluate(output.value.trim().slice(3, -2), {...contexts, jobs: inner}).text;
          if (value) outputs[name] = value;
        }
        continue;
      }
      const {result = "success", outputs: said = {}} = answered(scenario, where, id);
      for (const name of Object.keys(said)) if (!(name in (job.outputs ?? {}))) errors.push(`${where}: has no output ${name}`);
      Object.assign(outputs, said);
      results.push(result);
      all.push(result);
      if (result === "cancelled") state.cancelled = true;
      const environment = filled(job.environment, with_leg);
      told.push({path: where, result, permissions: lowered(permissions, scenario), concurrency, environment: environment?.name ?? environment, runs_on: filled(job["runs-on"], with_leg)});
    }
    done[id] = {result: worst(results), outputs, all};
  }
  return done;
}

function played(scenario) {
  const workflow = read(scenario.workflow);
  const state = {scenario, jobs: [], errors: [], cancelled: false};
  if (!triggered(workflow.on, scenario)) return {triggered: false, jobs: [], errors: []};
  const context = {github: scenario.github, inputs: scenario.inputs ?? {}, vars: scenario.vars ?? {}};
  const concurrency = filled(workflow.concurrency, context);
  try {
    play(scenario.workflow, "", scenario.inputs ?? {}, null, state);
  } catch (error) {
    state.errors.push(String(error.message ?? error));
  }
  return {triggered: true, concurrency, jobs: state.jobs, errors: state.errors};
}

async function answer() {
  const errors = {};
  for (const path of parse) errors[path] = await errorsOf(path);
  process.stdout.write(JSON.stringify({errors, runs: run.map(played)}));
}

answer();
