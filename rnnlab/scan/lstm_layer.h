// The LSTM layer of some sequences over time, forwards and backwards.
#pragma once

#include <algorithm>

#include "vectors.h"

namespace {  // so that the compiler may inline

constexpr int GATES = 4;                          // i, f, g, o
constexpr int DEPTH = 512, BACKWARD_DEPTH = 256;  // rows of a panel at a time; measured at batches of 1 to 256
constexpr long CHUNK = 256;                       // steps times sequences whose dz join the gradient at a time

struct Sizes {
  long T, B, D, H, segment;  // steps a segment; the earliest one is shorter where T does not divide
  long inputs() const { return D + H; }        // of a step: [x, h]
  long units() const { return up(H, WIDTH); }  // with those that fill up the last panel
  long segment_of(long t) const { return (t + (segment - T % segment) % segment) / segment; }
  long start_of(long n) const { return std::max(0L, n * segment - (segment - T % segment) % segment); }
};

// What is kept of steps for the backward pass: c before them [., H] and their gates i, f, g, o [., 4H].
struct Kept {
  float *cells, *gates;
};

struct Forward {
  const float *xs, *w, *b, *c, *h;     // [T, B, D]; packed; packed; [B, H]; [B, H]
  const bool* present;                 // [T, B], or null: all steps are there
  float *hs, *last_c, *last_h;         // [T, B, H], [B, H], [B, H]
  float *cells, *gates, *hiddens;      // null; or cells and gates of all steps; or c and h before each segment
};

// The steps of so many sequences, from a carry on.
class Steps {
 public:
  Steps(const Sizes& size, int rows, const float* w, const float* b, const float* from_c, const float* from_h)
      : size(size), rows(rows), stride(size.D + size.units()), w(w), b(b), c(rows * size.units()),
        z(rows * GATES * WIDTH), x(rows * stride), next(rows * stride) {
    for (int r = 0; r < rows; r++) {
      std::memcpy(c + r * size.units(), from_c + r * size.H, size.H * sizeof(float));
      std::memcpy(x + r * stride + size.D, from_h + r * size.H, size.H * sizeof(float));
    }
  }

  // One step with inputs [rows, D]. What is not null is written: h [rows, H], and what is kept [rows, .].
  void step(const float* inputs, const bool* present, float* h, Kept kept) {
    const long D = size.D, H = size.H, K = size.inputs();
    for (int r = 0; r < rows; r++) std::memcpy(x + r * stride, inputs + r * D, D * sizeof(float));
    for (long unit = 0; unit < H; unit += WIDTH) {
      const float* panel = w + unit * GATES * K;
      for (int r = 0; r < rows; r++)
        std::memcpy(z + r * GATES * WIDTH, b + unit * GATES, GATES * WIDTH * sizeof(float));
      for (long k = 0; k < K; k += DEPTH)
        product(rows, GATES,
                {x + k, stride, 1, panel + k * WIDTH, K * WIDTH, std::min<long>(DEPTH, K - k), z, GATES * WIDTH});
      for (int r = 0; r < rows; r++)
        for (int v = 0; v < WIDTH && unit + v < H; v += FLOATS)
          update(r, unit + v, z + r * GATES * WIDTH + v, !present || present[r], h, kept);
    }
    std::swap(x.data, next.data);
  }

  void carry(float* to_c, float* to_h) const {
    for (int r = 0; r < rows; r++) {
      std::memcpy(to_c + r * size.H, c + r * size.units(), size.H * sizeof(float));
      std::memcpy(to_h + r * size.H, x + r * stride + size.D, size.H * sizeof(float));
    }
  }

 private:
  void update(int r, long unit, const float* own, bool present, float* h, Kept kept) {
    const long H = size.H, count = H - unit;
    const Vector i = sigmoid(*(const Vector*)own), f = sigmoid(*(const Vector*)(own + WIDTH));
    const Vector g = tangent(*(const Vector*)(own + 2 * WIDTH)), o = sigmoid(*(const Vector*)(own + 3 * WIDTH));
    Vector& cell = *(Vector*)(c + r * size.units() + unit);
    if (kept.gates) {
      float* gates = kept.gates + r * GATES * H + unit;
      write(kept.cells + r * H + unit, cell, count);
      write(gates, i, count);
      write(gates + H, f, count);
      write(gates + 2 * H, g, count);
      write(gates + 3 * H, o, count);
    }
    const long at = r * stride + size.D + unit;
    if (present) cell = f * cell + i * g;
    const Vector output = present ? o * tangent(cell) : Vector{};
    *(Vector*)(next + at) = present ? output : *(const Vector*)(x + at);
    if (h) write(h + r * H + unit, output, count);
  }

  const Sizes size;
  const int rows;
  const long stride;
  const float *w, *b;
  Floats c, z, x, next;  // [rows, units], [rows, 4 WIDTH], and [x, h] of this step and the next one [rows, stride]
};

void forward_part(const Forward& of, const Sizes& size, long first, long last) {
  const long B = size.B, D = size.D, H = size.H;
  Steps steps(size, last - first, of.w, of.b, of.c + first * H, of.h + first * H);
  for (long t = 0; t < size.T; t++) {
    const long at = t * B + first;
    const long n = size.segment_of(t), own = (n * B + first) * H;
    if (of.hiddens && t == size.start_of(n)) steps.carry(of.cells + own, of.hiddens + own);
    Kept kept{};
    if (of.gates) kept = {of.cells + at * H, of.gates + at * GATES * H};
    steps.step(of.xs + at * D, of.present ? of.present + at : nullptr, of.hs + at * H, kept);
  }
  steps.carry(of.last_c + first * H, of.last_h + first * H);
}

struct Backward {
  const float *xs, *hs, *h, *w, *b;        // as forwards; hs, h are read where gates are kept, else w, b
  const float* w_back;                     // packed: of h, then of x if d_xs is asked for, [., 4H, WIDTH]
  const float *cells, *gates, *hiddens;    // as kept
  const bool* present;                     // or null
  const float *d_hs, *d_c, *d_h;           // d_hs may be null: zeros
  float *d_w_x, *d_w_h, *d_b;              // [D, 4H], [H, 4H], [4H]
  float *d_xs, *d_c0, *d_h0;               // d_xs may be null
  float *norm_c, *norm_h;                  // [T, B], or null
};

// The gradient of the weights, and the steps that are still to be added to it: the sum of [x, h, 1]^T dz.
class Gradient {
 public:
  Gradient(const Sizes& size, long rows)
      : size(size), K(size.inputs() + 1), columns(GATES * size.H), panels(up(columns, WIDTH) / WIDTH),
        blocks((K + ROWS - 1) / ROWS), height((K + blocks - 1) / blocks), capacity(std::max(CHUNK, rows)),
        total(panels * blocks * height * WIDTH), input(blocks * height), inputs(blocks * height * capacity),
        dzs(panels * capacity * WIDTH), part(height * WIDTH) {
    input[K - 1] = 1.0f;
  }

  bool takes(long rows) const { return filled + rows <= capacity; }

  // One sequence's step: x [D], h [H], dz [4H].
  void put(const float* x, const float* h, const float* dz) {
    std::memcpy(input, x, size.D * sizeof(float));
    std::memcpy(input + size.D, h, size.H * sizeof(float));
    for (long n = 0; n < blocks; n++)
      std::memcpy(inputs + (n * capacity + filled) * height, input + n * height, height * sizeof(float));
    for (long n = 0; n < panels; n++)
      std::memcpy(dzs + (n * capacity + filled) * WIDTH, dz + n * WIDTH,
                  std::min<long>(WIDTH, columns - n * WIDTH) * sizeof(float));
    filled++;
  }

  // Sums of sums: one after another, small terms would be lost beside a large total.
  void add() {
    for (long panel = 0; panel < panels; panel++)
      for (long n = 0; n < blocks; n++) {
        std::memset(part, 0, height * WIDTH * sizeof(float));
        product(height, 1,
                {inputs + n * capacity * height, 1, height, dzs + panel * capacity * WIDTH, 0, filled, part, WIDTH});
        float* to = total + (panel * blocks + n) * height * WIDTH;
        for (long k = 0; k < height * WIDTH; k++) to[k] += part[k];
      }
    filled = 0;
  }

  void join(const Gradient& other) {
    for (long n = 0; n < panels * blocks * height * WIDTH; n++) total[n] += other.total[n];
  }

  void write(const Backward& to) const {
    for (long k = 0; k < K; k++) {
      float* row = k < size.D ? to.d_w_x + k * columns : k < K - 1 ? to.d_w_h + (k - size.D) * columns : to.d_b;
      for (long n = 0; n < panels; n++)
        std::memcpy(row + n * WIDTH, total + (n * blocks * height + k) * WIDTH,
                    std::min<long>(WIDTH, columns - n * WIDTH) * sizeof(float));
    }
  }

 private:
  const Sizes size;
  const long K, columns, panels, blocks, height, capacity;
  Floats total, input, inputs;  // [panels, blocks height, WIDTH]; [x, h, 1]; [blocks, capacity, height]
  Floats dzs, part;             // [panels, capacity, WIDTH]; [height, WIDTH]
  long filled = 0;
};

void backward_part(const Backward& of, const Sizes& size, long first, long last, Gradient& gradient) {
  const long B = size.B, D = size.D, H = size.H, units = size.units(), rows = last - first, K = GATES * H;
  const long width = units + (of.d_xs ? up(D, WIDTH) : 0), panels = width / WIDTH;
  Floats d_c(rows * units), d_inputs(rows * width), dz(rows * K);  // the second: of h [units], then of x
  for (long r = 0; r < rows; r++) {
    std::memcpy(d_c + r * units, of.d_c + (first + r) * H, H * sizeof(float));
    std::memcpy(d_inputs + r * width, of.d_h + (first + r) * H, H * sizeof(float));
  }
  const long kept = of.gates ? 0 : size.segment * rows;  // steps times sequences of a segment that is computed again
  Floats cells(kept * H), hs(kept * H), gates(kept * K);
  for (long t = size.T; t-- > 0;) {
    const long at = t * B + first;
    const bool* present = of.present ? of.present + at : nullptr;
    const float *own_cells, *own_gates, *before;
    if (of.gates) {
      own_cells = of.cells + at * H;
      own_gates = of.gates + at * K;
      before = t > 0 ? of.hs + (at - B) * H : of.h + first * H;
    } else {
      const long segment = size.segment_of(t), start = size.start_of(segment), step = (t - start) * rows;
      const float* from_h = of.hiddens + (segment * B + first) * H;
      if (t == size.T - 1 || size.segment_of(t + 1) > segment) {
        Steps steps(size, rows, of.w, of.b, of.cells + (segment * B + first) * H, from_h);
        for (long n = 0; n <= t - start; n++) {
          const long then = (start + n) * B + first;
          steps.step(of.xs + then * D, of.present ? of.present + then : nullptr, hs + n * rows * H,
                     {cells + n * rows * H, gates + n * rows * K});
        }
      }
      own_cells = cells + step * H;
      own_gates = gates + step * K;
      before = t > start ? hs + (step - rows) * H : from_h;
    }
    if (!gradient.takes(rows)) gradient.add();
    for (long r = 0; r < rows; r++) {
      Vector squares_c{}, squares_h{};
      float* to = dz + r * K;
      if (present && !present[r]) std::memset(to, 0, K * sizeof(float));
      else
        for (long unit = 0; unit < H; unit += FLOATS) {
          const long count = H - unit;
          const float* gate = own_gates + r * K + unit;
          const Vector i = read(gate, count), f = read(gate + H, count);
          const Vector g = read(gate + 2 * H, count), o = read(gate + 3 * H, count);
          const Vector c = read(own_cells + r * H + unit, count), tanh = tangent(f * c + i * g);
          Vector &d_cell = *(Vector*)(d_c + r * units + unit), d_h = *(Vector*)(d_inputs + r * width + unit);
          if (of.d_hs) d_h += read(of.d_hs + (at + r) * H + unit, count);
          const Vector d = d_cell + d_h * o * (1.0f - tanh * tanh);
          write(to + unit, d * g * i * (1.0f - i), count);
          write(to + H + unit, d * c * f * (1.0f - f), count);
          write(to + 2 * H + unit, d * i * (1.0f - g * g), count);
          write(to + 3 * H + unit, d_h * tanh * o * (1.0f - o), count);
          d_cell = d * f;
          squares_c += d * d;
          squares_h += d_h * d_h;
        }
      if (of.norm_c) {
        of.norm_c[at + r] = __builtin_sqrtf(sum(squares_c));
        of.norm_h[at + r] = __builtin_sqrtf(sum(squares_h));
      }
      gradient.put(of.xs + (at + r) * D, before + r * H, to);
      const long stays = present && !present[r] ? units : 0;  // d_h of a step that is not there
      std::memset(d_inputs + r * width + stays, 0, (width - stays) * sizeof(float));
    }
    for (long panel = 0; panel < panels; panel += GATES)
      for (long k = 0; k < K; k += BACKWARD_DEPTH)
        product(rows, std::min<long>(GATES, panels - panel),
                {dz + k, K, 1, of.w_back + (panel * K + k) * WIDTH, K * WIDTH, std::min<long>(BACKWARD_DEPTH, K - k),
                 d_inputs + panel * WIDTH, width});
    if (of.d_xs)
      for (long r = 0; r < rows; r++)
        std::memcpy(of.d_xs + (at + r) * D, d_inputs + r * width + units, D * sizeof(float));
  }
  gradient.add();
  for (long r = 0; r < rows; r++) {
    std::memcpy(of.d_c0 + (first + r) * H, d_c + r * units, H * sizeof(float));
    std::memcpy(of.d_h0 + (first + r) * H, d_inputs + r * width, H * sizeof(float));
  }
}

}  // namespace
