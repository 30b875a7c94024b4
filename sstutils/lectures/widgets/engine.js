// The engine of the playground: a small network, trained in plain JavaScript by the closed-form gradients of the paper.
//
// `engine` is one function that needs nothing else from outside, so that its source can be sent to a Worker as it stands.
// Matrices are flat typed arrays, row by row. What Python computes too has the same name there: distances, nearest
// positives, the three losses (losses.py), k-means (clustering.py), batches (sampling.py), measures (evaluation.py).

function engine(uniform = random) { // `random` of common.js; in a Worker it is given
  /** Random numbers that follow from one or more whole numbers. */
  function seeded(...seeds) {
    let state = 0x9e3779b9;
    for (const seed of seeds) state = Math.imul(state ^ (seed + 0x7f4a7c15 + (state << 6) + (state >>> 2)), 0x85ebca6b) >>> 0;
    return uniform(state);
  }

  function normal(draw) {
    return Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw());
  }

  function permutation(n, draw) {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(draw() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  }

  // -- distances and the choice of positives

  /** The squared Euclidean distance of two rows of d numbers that begin at x[u] and y[v]. */
  function gap(x, u, y, v, d) {
    let sum = 0, odd = 0;
    for (const end = u + d - 1; u < end; u += 2, v += 2) { // two sums do not wait for each other
      const off = x[u] - y[v], off1 = x[u + 1] - y[v + 1];
      sum += off * off;
      odd += off1 * off1;
    }
    return sum + odd + (d & 1 ? (x[u] - y[v]) ** 2 : 0);
  }

  /** Squared Euclidean distances between the n rows of x, each of d numbers: (n, n). */
  function distances(x, n, d) {
    const out = new Float32Array(n * n), y = new Float64Array(x);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) out[i * n + j] = out[j * n + i] = gap(y, i * d, y, j * d, d);
    }
    return out;
  }

  /** Pairs of each item with its k nearest others of the same class (Infinity: with all of them). */
  function nearest(d2, labels, k) {
    const n = labels.length, anchors = [], positives = [];
    for (let i = 0; i < n; i++) {
      let found = [];
      for (let j = 0; j < n; j++) if (j !== i && labels[j] === labels[i]) found.push(j);
      if (found.length > k) found = found.sort((p, q) => d2[i * n + p] - d2[i * n + q] || p - q).slice(0, k);
      for (const j of found) { anchors.push(i); positives.push(j); }
    }
    return { a: Int32Array.from(anchors), p: Int32Array.from(positives) };
  }

  /** `nearest`, but no pairs at all where there is no negative. */
  function nearestPositives(d2, labels, k) {
    const several = labels.some((label) => label !== labels[0]);
    return several ? nearest(d2, labels, k) : { a: new Int32Array(0), p: new Int32Array(0) };
  }

  // -- the three losses: from the distances of a batch to the value, the slope dl/dD, and how many terms there are and
  //    matter (triplets; for the contrastive loss pairs of different classes)

  const MATTERS = 0.1; // the weight s above which a triplet counts as one that still matters to SST

  /** The items of the batch that are not of the class of item i, for each i; items of a class share one list. */
  function negatives(labels) {
    const lists = new Map();
    for (const label of labels) {
      if (!lists.has(label)) lists.set(label, Int32Array.from([...labels.keys()].filter((j) => labels[j] !== label)));
    }
    return Array.from(labels, (label) => lists.get(label));
  }

  function sst(d2, labels, { a, p }) {
    const n = labels.length, slope = new Float64Array(n * n), others = negatives(labels), weights = new Uint8Array(n * n);
    let terms = 0, matter = 0, value = 0;
    for (let t = 0; t < a.length; t++) {
      weights[Math.min(a[t], p[t]) * n + Math.max(a[t], p[t])]++; // (a, p) and (p, a) are one pair of weight 2
      terms += others[a[t]].length;
    }
    for (let i = 0; i < n; i++) {
      for (let j = i + 1; j < n; j++) {
        const weight = weights[i * n + j];
        if (!weight) continue;
        const apart = d2[i * n + j], share = weight / Math.max(terms, 1);
        const list = others[i], many = list.length;
        let sum = 0, above = 0, product = 1, found = 0;
        for (let t = 0; t < many; t++) {
          const u = i * n + list[t], v = j * n + list[t], z = apart - (d2[u] + d2[v]) / 2;
          const e = Math.exp(-Math.abs(z)), r = 1 / (1 + e), s = z > 0 ? r : e * r;
          // softplus(z) = max(0, z) + log(1 + e): one logarithm for the product of all, at most 2 ** n
          above += Math.max(z, 0);
          if (e < 1e-5) above += e - (e * e) / 2;
          else product *= 1 + e;
          if (s > MATTERS) found++;
          sum += s;
          const half = (share * s) / 2;
          slope[u] -= half;
          slope[v] -= half;
        }
        slope[i * n + j] += share * sum;
        value += weight * (above + Math.log(product));
        matter += weight * found;
      }
    }
    return { value: terms ? value / terms : 0, slope, terms, matter };
  }

  function triplet(d2, labels, { a, p }, margin) {
    const n = labels.length, slope = new Float32Array(n * n), others = negatives(labels);
    let terms = 0, matter = 0, value = 0;
    for (let t = 0; t < a.length; t++) {
      const i = a[t], j = p[t], reach = d2[i * n + j] + margin;
      terms += others[i].length;
      for (const q of others[i]) {
        const z = reach - d2[i * n + q];
        if (z > 0) { value += z; matter++; slope[i * n + j] += 1; slope[i * n + q] -= 1; }
      }
    }
    for (let i = 0; terms && i < slope.length; i++) slope[i] /= terms;
    return { value: terms ? value / terms : 0, slope, terms, matter };
  }

  function contrastive(d2, labels, { a, p }, margin) {
    const n = labels.length, slope = new Float32Array(n * n), others = negatives(labels);
    let terms = 0, matter = 0, value = 0;
    for (let t = 0; t < a.length; t++) { value += d2[a[t] * n + p[t]]; slope[a[t] * n + p[t]] += 1 / n; }
    for (let i = 0; i < n; i++) {
      terms += others[i].length;
      for (const q of others[i]) {
        const short = margin - d2[i * n + q];
        if (short > 0) { value += short; matter++; slope[i * n + q] -= 1 / n; }
      }
    }
    return { value: n ? value / n : 0, slope, terms, matter };
  }

  function lossOf(settings, d2, labels, pairs) {
    if (settings.loss === "sst") return sst(d2, labels, pairs);
    return (settings.loss === "triplet" ? triplet : contrastive)(d2, labels, pairs, settings.margin);
  }

  /** The gradient at the embeddings: with S = slope + its transpose, 2 sum_j S_ij (x_i - x_j). */
  function chain(slope, x, n, d) {
    const out = new Float64Array(n * d);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < i; j++) {
        const pull = 2 * (slope[i * n + j] + slope[j * n + i]);
        if (pull === 0) continue;
        for (let c = 0, u = i * d, v = j * d; c < d; c++, u++, v++) {
          const part = pull * (x[u] - x[v]);
          out[u] += part;
          out[v] -= part;
        }
      }
    }
    return Float32Array.from(out);
  }

  // -- the network: linear layers with ReLU between them; then, if asked for, unit length; then a factor, the scale

  function network(sizes, seed) {
    const draw = seeded(seed, 1), layers = [];
    for (let l = 0; l + 1 < sizes.length; l++) {
      const [from, to] = [sizes[l], sizes[l + 1]], last = l + 2 === sizes.length;
      const spread = Math.sqrt((last ? 1 : 2) / from);
      const w = Float32Array.from({ length: from * to }, () => spread * normal(draw)); // w[i * to + j]: from i to j
      layers.push({ from, to, w, b: new Float32Array(to) });
    }
    return { layers, dim: sizes[sizes.length - 1] };
  }

  /** The product of two matrices, a (n, m) and b (m, p). Zeros in a cost nothing: paper is white, a ReLU is often off. */
  function product(a, n, m, b, p) {
    const out = new Float32Array(n * p), wide = new Float64Array(b), on = new Int32Array(m), some = new Float64Array(m);
    for (let r = 0; r < n; r++) {
      let count = 0, j = 0;
      for (let i = 0, at = r * m; i < m; i++, at++) {
        if (a[at] !== 0) { some[count] = a[at]; on[count++] = i * p; }
      }
      for (; j + 7 < p; j += 8) { // eight sums at a time stay in registers
        let s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0;
        for (let t = 0; t < count; t++) {
          const v = some[t], at = on[t] + j;
          s0 += v * wide[at]; s1 += v * wide[at + 1]; s2 += v * wide[at + 2]; s3 += v * wide[at + 3];
          s4 += v * wide[at + 4]; s5 += v * wide[at + 5]; s6 += v * wide[at + 6]; s7 += v * wide[at + 7];
        }
        const at = r * p + j;
        out[at] = s0; out[at + 1] = s1; out[at + 2] = s2; out[at + 3] = s3;
        out[at + 4] = s4; out[at + 5] = s5; out[at + 6] = s6; out[at + 7] = s7;
      }
      for (; j < p; j++) {
        let sum = 0;
        for (let t = 0; t < count; t++) sum += some[t] * wide[on[t] + j];
        out[r * p + j] = sum;
      }
    }
    return out;
  }

  function transposed(a, n, m) {
    const out = new Float32Array(n * m);
    for (let r = 0, at = 0; r < n; r++) for (let i = 0; i < m; i++) out[i * n + r] = a[at++];
    return out;
  }

  /** Embed n rows; `acts` keeps what `backward` needs: the input of each layer, the output, its lengths. */
  function forward(net, x, n, { normalize, scale }) {
    const acts = [x];
    net.layers.forEach(({ from, to, w, b }, l) => {
      const out = product(acts[l], n, from, w, to), last = l + 1 === net.layers.length;
      for (let r = 0, at = 0; r < n; r++) {
        for (let j = 0; j < to; j++, at++) { const sum = out[at] + b[j]; out[at] = last || sum > 0 ? sum : 0; }
      }
      acts.push(out);
    });
    const d = net.dim, raw = acts[acts.length - 1], z = new Float32Array(n * d), lengths = new Float32Array(n);
    for (let r = 0; r < n; r++) {
      let sum = 0;
      for (let c = 0; c < d; c++) sum += raw[r * d + c] ** 2;
      lengths[r] = normalize ? Math.max(Math.sqrt(sum), 1e-12) : 1;
      for (let c = 0; c < d; c++) z[r * d + c] = (scale * raw[r * d + c]) / lengths[r];
    }
    return { z, acts, lengths, n };
  }

  /** From the gradient at the embeddings to those of all weights, layer by layer: [{ w, b }]. */
  function backward(net, { z, acts, lengths, n }, gradient, { normalize, scale }) {
    const d = net.dim;
    let out = new Float32Array(n * d);
    for (let r = 0; r < n; r++) {
      let along = 0;
      if (normalize) for (let c = 0; c < d; c++) along += (gradient[r * d + c] * z[r * d + c]) / scale;
      for (let c = 0; c < d; c++) {
        const straight = normalize ? (along * z[r * d + c]) / scale : 0;
        out[r * d + c] = (scale * (gradient[r * d + c] - straight)) / lengths[r];
      }
    }
    const grads = [];
    for (let l = net.layers.length - 1; l >= 0; l--) {
      const { from, to, w } = net.layers[l], db = new Float32Array(to);
      for (let r = 0, at = 0; r < n; r++) for (let j = 0; j < to; j++) db[j] += out[at++];
      const dw = product(transposed(acts[l], n, from), from, n, out, to);
      if (l) out = product(out, n, to, transposed(w, from, to), from).map((g, at) => (acts[l][at] ? g : 0)); // a ReLU that is off
      grads[l] = { w: dw, b: db };
    }
    return grads;
  }

  /** One step of Adam or of plain gradient descent; `memory` is Adam's, empty at first. */
  function update(net, grads, { optimizer, lr }, memory) {
    memory.t = (memory.t ?? 0) + 1;
    const [b1, b2] = [0.9, 0.999], fix1 = 1 - b1 ** memory.t, fix2 = 1 - b2 ** memory.t;
    net.layers.forEach((layer, l) => {
      for (const name of ["w", "b"]) {
        const value = layer[name], g = grads[l][name];
        if (optimizer === "sgd") {
          for (let i = 0; i < value.length; i++) value[i] -= lr * g[i];
          continue;
        }
        const m = (memory[`m${name}${l}`] ??= new Float32Array(value.length));
        const v = (memory[`v${name}${l}`] ??= new Float32Array(value.length));
        for (let i = 0; i < value.length; i++) {
          m[i] = b1 * m[i] + (1 - b1) * g[i];
          v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
          value[i] -= (lr * (m[i] / fix1)) / (Math.sqrt(v[i] / fix2) + 1e-8);
        }
      }
    });
  }

  // -- k-means, and the three samplers

  /** Lloyd's k-means from the items `seeds`: the rules of clustering.py, empty clusters included. */
  function kmeans(points, n, d, seeds, iterations = 20) {
    const k = seeds.length, x = Float64Array.from(points), centres = new Float64Array(k * d);
    for (let j = 0; j < d; j++) {
      let mean = 0;
      for (let i = 0; i < n; i++) mean += points[i * d + j] / n;
      for (let i = 0; i < n; i++) x[i * d + j] -= mean;
    }
    seeds.forEach((item, c) => centres.set(x.subarray(item * d, (item + 1) * d), c * d));

    function assign() {
      const owner = new Int32Array(n), d2 = new Float64Array(n);
      for (let i = 0; i < n; i++) {
        d2[i] = Infinity;
        for (let c = 0; c < k; c++) {
          const far = gap(x, i * d, centres, c * d, d);
          if (far < d2[i]) { d2[i] = far; owner[i] = c; }
        }
      }
      for (;;) { // a centre without points moves to the point that is farthest from its own
        const sizes = new Int32Array(k);
        for (const c of owner) sizes[c]++;
        const empty = [...sizes.keys()].filter((c) => !sizes[c]);
        if (!empty.length) return owner;
        const far = [...d2.keys()].sort((p, q) => d2[q] - d2[p] || p - q).slice(0, empty.length).filter((i) => d2[i] > 0);
        if (!far.length) return owner;
        far.forEach((item, e) => {
          centres.set(x.subarray(item * d, (item + 1) * d), empty[e] * d);
          owner[item] = empty[e];
          d2[item] = 0;
        });
        for (let i = 0; i < n; i++) {
          for (let e = 0; e < far.length; e++) {
            const closer = gap(x, i * d, centres, empty[e] * d, d);
            if (closer < d2[i]) { d2[i] = closer; owner[i] = empty[e]; }
          }
        }
      }
    }

    let owner = assign();
    for (let round = 0; round < iterations; round++) {
      const before = owner, sizes = new Int32Array(k);
      centres.fill(0);
      before.forEach((c, i) => { sizes[c]++; for (let j = 0; j < d; j++) centres[c * d + j] += x[i * d + j]; });
      for (let c = 0; c < k; c++) if (sizes[c]) for (let j = 0; j < d; j++) centres[c * d + j] /= sizes[c];
      owner = assign();
      if (owner.every((c, i) => c === before[i])) break;
    }
    return owner;
  }

  /** The batches of clusters: of a large one some B members; none without a triplet. */
  function neighborhoods(owner, labels, B, draw) {
    const count = Math.max(...owner) + 1, members = Array.from({ length: count }, () => []), batches = [];
    owner.forEach((c, i) => members[c].push(i));
    for (let batch of members) {
      if (batch.length > B) {
        const order = permutation(batch.length, draw).slice(0, B).sort();
        batch = Array.from(order, (i) => batch[i]);
      }
      const classes = new Set(batch.map((i) => labels[i])).size;
      if (classes > 1 && classes < batch.length) batches.push(Int32Array.from(batch));
    }
    return batches;
  }

  /** Local sampling: neighborhoods of the embedded training set, with the positives that their anchors keep. */
  function localBatches(z, n, d, labels, B, k, draw) {
    const seeds = permutation(n, draw).slice(0, Math.max(1, Math.floor(n / B)));
    const owner = kmeans(z, n, d, seeds), batches = neighborhoods(owner, labels, B, draw);
    const pairs = batches.map((batch) => nearestPositives(distances(rows(z, batch, d), batch.length, d), pick(labels, batch), k));
    return { owner, batches, pairs };
  }

  /** Batches of some classes with the same number of items of each. */
  function balancedBatches(labels, B, perClass, draw) {
    const members = new Map();
    labels.forEach((label, i) => members.set(label, [...(members.get(label) ?? []), i]));
    const some = (items, size) => {
      const out = [];
      while (out.length < size) out.push(...Array.from(permutation(items.length, draw), (i) => items[i]));
      return out.slice(0, size);
    };
    const count = Math.max(1, Math.floor(labels.length / B)), classes = [...members.keys()];
    return Array.from({ length: count }, () =>
      Int32Array.from(some(classes, Math.floor(B / perClass)).flatMap((c) => some(members.get(c), perClass))));
  }

  /** Items of each class in a class-balanced batch: the least divisor of B from 5 up (or B / 2) that is enough. */
  function perClassOf(B, classes) {
    const least = Math.min(5, B / 2);
    for (let size = 2; size <= B / 2; size++) if (B % size === 0 && size >= least && B / size <= classes) return size;
    return Math.max(1, Math.floor(B / 2));
  }

  function shuffledBatches(n, B, draw) {
    const order = permutation(n, draw), count = Math.max(1, Math.floor(n / B));
    return Array.from({ length: count }, (_, b) => order.slice(b * B, (b + 1) * B));
  }

  const rows = (x, items, d) => {
    const out = new Float32Array(items.length * d);
    items.forEach((item, r) => out.set(x.subarray(item * d, (item + 1) * d), r * d));
    return out;
  };
  const pick = (labels, items) => Array.from(items, (i) => labels[i]);

  // -- what is measured

  /** Recall@1, and the share of other classes among the ten nearest. Among equally near items chance decides: its mean. */
  function retrieval(z, labels, d, near = 10) {
    const n = labels.length, top = Math.min(near, n - 1), best = new Float64Array(top), d2 = distances(z, n, d);
    let hits = 0, foreign = 0;
    for (let i = 0; i < n; i++) {
      const row = d2.subarray(i * n, (i + 1) * n);
      best.fill(Infinity);
      row[i] = Infinity;
      let worst = Infinity;
      for (let j = 0; j < n; j++) {
        const sum = row[j];
        if (sum >= worst) continue;
        let at = top - 1;
        for (; at > 0 && best[at - 1] > sum; at--) best[at] = best[at - 1];
        best[at] = sum;
        worst = best[top - 1];
      }
      const own = labels[i], first = best[0], last = best[top - 1];
      let right = 0, level = 0, below = 0, tied = 0, tiedForeign = 0;
      for (let j = 0; j < n; j++) {
        if (row[j] > last) continue;
        const other = labels[j] !== own;
        if (row[j] === first) { level++; if (!other) right++; }
        if (row[j] < last) { below++; if (other) foreign++; } else { tied++; if (other) tiedForeign++; }
      }
      hits += right / level;
      foreign += (tiedForeign / tied) * (top - below);
    }
    return { recall: hits / n, overlap: foreign / (n * top) };
  }

  /** Root mean square distance from the mean. */
  function spread(z, n, d) {
    let sum = 0;
    for (let c = 0; c < d; c++) {
      let mean = 0;
      for (let i = 0; i < n; i++) mean += z[i * d + c] / n;
      for (let i = 0; i < n; i++) sum += (z[i * d + c] - mean) ** 2 / n;
    }
    return Math.sqrt(sum);
  }

  /** The first `count` principal axes (count, d) of z, its mean, and the share of the variance that they hold: Jacobi. */
  function principal(z, n, d, count = 2) {
    const mean = new Float64Array(d), m = new Float64Array(d * d), v = new Float64Array(d * d);
    for (let i = 0; i < n; i++) for (let c = 0; c < d; c++) mean[c] += z[i * d + c] / n;
    for (let i = 0; i < n; i++) {
      for (let a = 0; a < d; a++) {
        const left = (z[i * d + a] - mean[a]) / n;
        for (let b = 0; b <= a; b++) m[a * d + b] += left * (z[i * d + b] - mean[b]);
      }
    }
    for (let a = 0; a < d; a++) { v[a * d + a] = 1; for (let b = 0; b < a; b++) m[b * d + a] = m[a * d + b]; }
    const total = Array.from({ length: d }, (_, c) => m[c * d + c]).reduce((p, q) => p + q, 0);
    for (let sweep = 0; sweep < 12; sweep++) {
      let off = 0;
      for (let p = 0; p < d; p++) {
        for (let q = p + 1; q < d; q++) {
          const apq = m[p * d + q];
          off += apq * apq;
          if (Math.abs(apq) <= 1e-12 * total) continue;
          const theta = (m[q * d + q] - m[p * d + p]) / (2 * apq);
          const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1)), c = 1 / Math.sqrt(t * t + 1), sn = t * c;
          for (let i = 0; i < d; i++) {
            const x = m[i * d + p], y = m[i * d + q];
            m[i * d + p] = c * x - sn * y; m[i * d + q] = sn * x + c * y;
          }
          for (let i = 0; i < d; i++) {
            const x = m[p * d + i], y = m[q * d + i];
            m[p * d + i] = c * x - sn * y; m[q * d + i] = sn * x + c * y;
            const f = v[i * d + p], g = v[i * d + q];
            v[i * d + p] = c * f - sn * g; v[i * d + q] = sn * f + c * g;
          }
        }
      }
      if (off <= 1e-20 * total * total) break;
    }
    const order = [...Array(d).keys()].sort((a, b) => m[b * d + b] - m[a * d + a]).slice(0, count);
    const axes = order.map((c) => Float64Array.from({ length: d }, (_, i) => v[i * d + c]));
    return { mean, axes, share: total > 0 ? order.reduce((sum, c) => sum + m[c * d + c], 0) / total : 0 };
  }

  // -- data

  /** Three rings and three arms of a spiral in the plane; `unseen` are other points of the same classes. */
  function rings() {
    const draw = seeded(7, 20), make = (each) => {
      const x = new Float32Array(6 * each * 2), labels = new Int32Array(6 * each);
      for (let c = 0; c < 6; c++) {
        for (let i = 0; i < each; i++) {
          const at = c * each + i, t = draw();
          const angle = c < 3 ? 2 * Math.PI * t : (2 * Math.PI * (c - 3)) / 3 + 3.6 * t, r = c < 3 ? 0.3 + 0.35 * c : 0.15 + 0.9 * t;
          x[2 * at] = (c < 3 ? -1.2 : 1.2) + r * Math.cos(angle) + 0.035 * normal(draw);
          x[2 * at + 1] = r * Math.sin(angle) + 0.035 * normal(draw);
          labels[at] = c;
        }
      }
      return { x, labels, n: labels.length };
    };
    const classes = ["inner ring", "middle ring", "outer ring", "spiral arm 1", "spiral arm 2", "spiral arm 3"];
    return { name: "rings", d: 2, side: 0, classes, train: make(60), unseen: make(20), others: "points" };
  }

  /** Pictures of 16 shades, two pixels a byte, `each` of a class, those to train on first. */
  function pictures(name, bytes, side, each, trained, untrained) {
    const d = side * side, x = new Float32Array(bytes.length * 2);
    bytes.forEach((byte, i) => { x[2 * i] = (byte >> 4) / 15; x[2 * i + 1] = (byte & 15) / 15; });
    const part = (from, count) => ({
      x: x.slice(from * each * d, (from + count) * each * d), n: count * each,
      labels: Int32Array.from({ length: count * each }, (_, i) => from + Math.floor(i / each)),
    });
    return { name, d, side, classes: [...trained, ...untrained], others: "classes",
      train: part(0, trained.length), unseen: part(trained.length, untrained.length) };
  }

  /** Points or pictures of one's own, split: a third of six or more classes is unseen, else a third of the points. */
  function ownData(x, d, names, side = 0) {
    const classes = [...new Set(names)], all = names.map((name) => classes.indexOf(name)), several = classes.length >= 6;
    const seen = several ? classes.length - Math.floor(classes.length / 3) : classes.length, counts = new Map();
    const train = [], unseen = [];
    all.forEach((label, i) => {
      counts.set(label, (counts.get(label) ?? 0) + 1);
      (several ? label >= seen : counts.get(label) % 3 === 0) ? unseen.push(i) : train.push(i);
    });
    const part = (items) => ({ x: rows(x, items, d), n: items.length, labels: Int32Array.from(items, (i) => all[i]) });
    return { name: "own", d, side, classes, train: part(train), unseen: part(unseen), others: several ? "classes" : "points" };
  }

  // -- training

  const SETTINGS = { data: "rings", dim: 2, loss: "sst", margin: 0.2, scale: 1, normalize: false, sampler: "local",
    warmup: 0, B: 60, k: 5, lr: 0.003, optimizer: "adam", seed: 0 };
  const SAMPLING = ["sampler", "warmup", "B", "k"]; // a change of these begins a new epoch

  /**
   * A run: `next` prepares a step and tells what it will do, `take` takes it, `set` changes settings on the way.
   * All numbers follow from the data, the settings, and `changes`: [[step, { name: value }], ...].
   */
  function trainer(data, wanted = {}, planned = []) {
    const settings = { ...SETTINGS, ...wanted }, { train, unseen, d } = data, memory = {};
    const net = network([d, 64, 32, settings.dim], settings.seed), classes = new Set(train.labels).size;
    const every = train.n > 500 ? 20 : 10; // steps from one measurement to the next
    const run = { settings, net, rows: [], changes: [], step: 0, triplets: 0, ended: "", plan: null, at: 0, begun: 0 };
    const coming = [...planned];
    let prepared = null, losses = [], shares = [];

    run.epoch = () => (run.plan ? run.begun - 1 + run.at / Math.max(run.plan.batches.length, 1) : 0);
    run.embed = (part = train) => forward(net, part.x, part.n, settings).z;

    function measure() {
      const z = run.embed(), mean = (list) => (list.length ? list.reduce((p, q) => p + q, 0) / list.length : null);
      const { recall, overlap } = retrieval(z, train.labels, settings.dim);
      const other = retrieval(run.embed(unseen), unseen.labels, settings.dim).recall;
      run.rows.push([run.step, run.epoch(), run.triplets, mean(losses), recall, other, mean(shares), overlap, spread(z, train.n, settings.dim)]);
      losses = [];
      shares = [];
    }

    /** Begin an epoch: embed, cluster, and list the batches that are to be visited. */
    function begin() {
      const draw = seeded(settings.seed, 2, run.begun), B = Math.min(settings.B, train.n);
      const local = settings.sampler === "local" && run.begun >= settings.warmup;
      run.begun++;
      run.at = 0;
      if (local) run.plan = localBatches(run.embed(), train.n, settings.dim, train.labels, B, settings.k, draw);
      else if (settings.sampler === "shuffled") run.plan = { batches: shuffledBatches(train.n, B, draw) };
      else run.plan = { batches: balancedBatches(train.labels, B, perClassOf(B, classes), draw) };
      if (!run.plan.batches.length) run.ended = "Every neighborhood now contains a single class: there is nothing left to pull or push.";
    }

    /** Prepare the next step: its batch, embeddings, pairs and loss, and the gradient at each embedding; null at the end. */
    run.next = () => {
      while (coming.length && coming[0][0] <= run.step) run.set(coming.shift()[1]);
      if (prepared || run.ended) return prepared;
      if (!run.plan || run.at >= run.plan.batches.length) begin();
      if (run.ended) return null;
      const batch = run.plan.batches[run.at], labels = pick(train.labels, batch), n = batch.length;
      const pass = forward(net, rows(train.x, batch, d), n, settings), d2 = distances(pass.z, n, settings.dim);
      const pairs = run.plan.pairs?.[run.at] ?? nearest(d2, labels, settings.loss === "contrastive" ? Infinity : settings.k);
      const loss = lossOf(settings, d2, labels, pairs);
      prepared = { batch, labels, pass, d2, pairs, loss, gradient: chain(loss.slope, pass.z, n, settings.dim) };
      return prepared;
    };

    run.take = () => {
      if (!run.rows.length) measure();
      const todo = run.next();
      if (!todo) return false;
      update(net, backward(net, todo.pass, todo.gradient, settings), settings, memory);
      prepared = null;
      losses.push(todo.loss.value);
      if (todo.loss.terms) shares.push(todo.loss.matter / todo.loss.terms);
      run.triplets += todo.loss.terms;
      run.step++;
      run.at++;
      if (run.step % every === 0) measure();
      return true;
    };

    run.set = (values) => {
      const changed = Object.entries(values).filter(([name, value]) => settings[name] !== value);
      if (!changed.length) return;
      Object.assign(settings, values);
      run.changes.push([run.step, Object.fromEntries(changed)]);
      prepared = null;
      if (changed.some(([name]) => SAMPLING.includes(name)) && run.plan) {
        if (run.at === 0) run.begun--; // that epoch was looked at, but no step was taken in it
        run.plan = null;
        run.ended = "";
      }
    };

    /** Where the embeddings of a part of the data would be after the next step, which is not taken. */
    run.ahead = (part = train) => {
      const todo = run.next();
      if (!todo) return run.embed(part);
      const copy = { dim: net.dim, layers: net.layers.map((layer) => ({ ...layer, w: layer.w.slice(), b: layer.b.slice() })) };
      const kept = Object.fromEntries(Object.entries(memory).map(([name, value]) => [name, value.slice?.() ?? value]));
      update(copy, backward(copy, todo.pass, todo.gradient, settings), settings, kept);
      return forward(copy, part.x, part.n, settings).z;
    };

    measure();
    return run;
  }

  /**
   * What the Worker does: it trains one run, or two in step, and posts what is to be drawn, a new picture only when the
   * page has drawn the one before. `post` sends to the page; what is returned receives from it.
   */
  function serve(post, now = () => performance.now(), later = (f) => setTimeout(f, 0)) {
    let data = null, runs = [], sent = [], playing = false, rate = 0, until = Infinity, owed = 0, before = 0, looked = 0;
    let waiting = false, stale = false, queued = false, part = "train", id = 0;

    const step = () => runs.map((run) => run.take()).some(Boolean); // where one has ended, the other goes on

    function picture(ahead = false) {
      waiting = true;
      stale = false;
      looked = now();
      post({ id, playing, ahead, runs: runs.map((run, i) => {
        const todo = run.next(), fresh = run.rows.slice(sent[i]);
        sent[i] = run.rows.length;
        return { step: run.step, epoch: run.epoch(), triplets: run.triplets, rows: fresh, settings: { ...run.settings },
          changes: run.changes, ended: run.ended, z: run.embed(data[part]), moved: ahead ? run.ahead(data[part]) : null,
          at: run.at, batches: run.plan?.batches ?? [], owner: run.plan?.owner ?? null,
          next: todo && { batch: todo.batch, labels: todo.labels, z: todo.pass.z, pairs: todo.pairs, gradient: todo.gradient,
            value: todo.loss.value, terms: todo.loss.terms, matter: todo.loss.matter } };
      }) });
    }

    function tick() {
      queued = false;
      if (!playing) return;
      const time = now();
      if (rate) owed = Math.min(owed + ((time - before) / 1000) * rate, 5);
      before = time;
      for (;;) {
        if (rate && owed < 1) break;
        if (runs[0].step >= until || !step()) { playing = false; break; }
        stale = true;
        owed--;
        if (now() - time > 12) break;
      }
      const rest = data.train.n > 500 ? (rate ? 66 : 100) : 33; // to draw many points takes long, and full speed is of training
      if (!playing || (stale && !waiting && now() - looked > rest)) picture();
      if (playing) again();
    }
    function again() {
      if (!queued) { queued = true; later(tick); }
    }

    const does = {
      open(message) {
        ({ id, part = part } = message);
        data = message.data;
        runs = message.runs.map(({ settings, changes }) => trainer(data, settings, changes));
        sent = runs.map(() => 0);
        playing = false;
        picture();
      },
      play(message) {
        ({ rate, until = Infinity } = message);
        owed = rate ? 1 : 0;
        before = now();
        playing = true;
        again();
      },
      pause() { playing = false; picture(); },
      steps({ count }) { for (let i = 0; i < count && step(); i++); picture(); },
      epoch() {
        const { begun } = runs[0];
        runs[0].next();
        while (step() && runs[0].begun === begun && runs[0].at < runs[0].plan.batches.length);
        picture();
      },
      set({ which, values }) {
        runs.forEach((run, i) => { if (which === undefined || which === i) run.set(values); });
        if (!playing) picture();
      },
      show(message) { ({ part } = message); if (!playing) picture(); },
      ahead() { picture(true); },
      drawn() { waiting = false; },
    };
    return (message) => does[message.do](message);
  }

  /** Train from start to end at once: the measurements. */
  function experiment(data, settings, steps, changes = []) {
    const run = trainer(data, settings, changes);
    while (run.step < steps && run.take());
    return { rows: run.rows, ended: run.ended, step: run.step };
  }

  return { seeded, normal, permutation, gap, distances, nearest, nearestPositives, sst, triplet, contrastive, lossOf, chain, network,
    forward, backward, update, kmeans, neighborhoods, localBatches, balancedBatches, perClassOf, shuffledBatches, retrieval,
    spread, principal, rings, pictures, ownData, trainer, serve, experiment, SETTINGS, MATTERS };
}

export { engine };
