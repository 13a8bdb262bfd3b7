// A word as it is mistyped: its last two letters exchanged, or the last one doubled where they are the same.
export function mistyped(word) {
  const [a, b] = word.slice(-2);
  return a === b || b === undefined ? word + word.slice(-1) : word.slice(0, -2) + b + a;
}
