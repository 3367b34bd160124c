// An LSTM layer over time in float32, forwards and backwards: what lstm_kernel.py calls through jax.ffi.
//
// Why by hand: XLA packs both factors of a matrix product at every step and writes z, dz and their parts to memory. Here
// weights come packed once, in panels of WIDTH columns; what a panel gives for all sequences stays in the caches until
// their gates are computed; and dz of so many steps goes from the cache into the weights' gradient.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "xla/ffi/api/ffi.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ffi = xla::ffi;

namespace {

constexpr int GATES = 4, VECTORS = 2;  // of a panel: its columns, in vectors
#ifdef __AVX512F__
constexpr int BYTES = 64;  // of a vector
#else
constexpr int BYTES = 32;
#endif
#if !defined(__AVX512F__)
constexpr int ROWS = 6;  // of a block of a product, whose sums fill most registers
#elif defined(__clang__)
constexpr int ROWS = 8;  // with more it keeps sums in memory
#else
constexpr int ROWS = 13;
#endif
constexpr int FLOATS = BYTES / sizeof(float), WIDTH = VECTORS * FLOATS;
constexpr int FEW = 3;  // rows so few that the sums of one panel would wait for each other
constexpr int DEPTH = 512, BACKWARD_DEPTH = 256;  // rows of a panel at a time; measured at batches of 1 to 256
constexpr int LINE = 16, AHEAD = 32;  // floats of a line of the cache, and rows of a panel that are fetched before they are
                                     // needed: over the end of a page, where the processor does not by itself
constexpr long CHUNK = 256;                       // steps times sequences whose dz are added to the gradient at a time
typedef float Vector __attribute__((vector_size(BYTES), aligned(4)));
typedef int32_t Integers __attribute__((vector_size(BYTES), aligned(4)));

long up(long n, long to) { return (n + to - 1) / to * to; }

// Zeros, in lines of the cache; one vector more than asked for, so that whole vectors can be read at the end.
struct Floats {
  explicit Floats(long count) : data(nullptr, std::free) {
    const size_t bytes = up((count + FLOATS) * sizeof(float), 64);
    data.reset((float*)std::aligned_alloc(64, bytes));
    if (!data) throw std::bad_alloc();
    std::memset(data.get(), 0, bytes);
  }
  operator float*() const { return data.get(); }
  std::unique_ptr<float, decltype(&std::free)> data;
};

Vector all(float x) { return x - Vector{}; }

// Lanes of a mask are all ones or all zeros.
Vector chosen(Integers mask, Vector one, Vector other) {
  return (Vector)((mask & (Integers)one) | (~mask & (Integers)other));
}

Vector bounded(Vector x, float limit) {
  x = chosen(x > limit, all(limit), x);
  return chosen(x < -limit, all(-limit), x);
}

// 2^n and e^r - 1, where x = n log 2 + r (Cody & Waite 1980, chapter 6) and the Taylor series to r^7 is exact in float32.
void reduce(Vector x, Vector* power, Vector* less) {
  constexpr float SHIFT = 12582912.0f;  // 1.5 2^23: added and taken away, it rounds
  const Vector shifted = x * 1.44269504f + SHIFT, n = shifted - SHIFT;
  const Vector r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Vector sum = all(1.0f / 5040);
  sum = sum * r + 1.0f / 720;
  sum = sum * r + 1.0f / 120;
  sum = sum * r + 1.0f / 24;
  sum = sum * r + 1.0f / 6;
  sum = sum * r + 0.5f;
  *less = sum * (r * r) + r;
  *power = (Vector)(((Integers)shifted + (127 - 0x4B400000)) << 23);
}

Vector sigmoid(Vector x) {
  Vector power, less;
  reduce(bounded(-x, 87.0f), &power, &less);
  return 1.0f / (1.0f + (less * power + power));
}

// (e^2x - 1) / (e^2x + 1), of which the numerator is exact near zero too
Vector tangent(Vector x) {
  Vector power, less;
  reduce(bounded(2.0f * x, 40.0f), &power, &less);
  const Vector above = less * power + (power - 1.0f);
  return above / (above + 2.0f);
}

// The first `count` floats of a vector, zeros beyond.
Vector read(const float* from, long count) {
  if (count >= FLOATS) return *(const Vector*)from;
  Vector x{};
  if (count > 0) std::memcpy(&x, from, count * sizeof(float));
  return x;
}

void write(float* to, Vector x, long count) {
  if (count >= FLOATS) *(Vector*)to = x;
  else if (count > 0) std::memcpy(to, &x, count * sizeof(float));
}

float sum(Vector x) {
  float total = 0;
  for (int n = 0; n < FLOATS; n++) total += x[n];
  return total;
}

// z [R, P WIDTH] += x [R, depth] w [P, depth, WIDTH]. Strides in floats: of x from row to row and along the depth.
struct Factors {
  const float* x;
  long x_row, x_depth;
  const float* w;
  long w_panel, depth;
  float* z;
  long z_row;
};

template <int R, int P>
void block(const Factors& of) {
  constexpr int N = P * VECTORS;
  const float *x = of.x, *w = of.w;
  const long x_row = of.x_row, w_panel = of.w_panel;
  Vector sums[R][N], row[N];
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) sums[r][n] = *(const Vector*)(of.z + r * of.z_row + n * FLOATS);
  for (long k = 0; k < of.depth; k++, x += of.x_depth, w += WIDTH) {
    if (P == 1)
      for (int n = 0; n < WIDTH; n += LINE) __builtin_prefetch(w + AHEAD * WIDTH + n);
    for (int n = 0; n < N; n++) row[n] = *(const Vector*)(w + n / VECTORS * w_panel + n % VECTORS * FLOATS);
    for (int r = 0; r < R; r++)
      for (int n = 0; n < N; n++) sums[r][n] += x[r * x_row] * row[n];
  }
  for (int r = 0; r < R; r++)
    for (int n = 0; n < N; n++) *(Vector*)(of.z + r * of.z_row + n * FLOATS) = sums[r][n];
}

typedef void (*Block)(const Factors&);

template <int P, int... R>
Block of_rows(int rows, std::integer_sequence<int, R...>) {
  static constexpr Block blocks[] = {block<R + 1, P>...};
  return blocks[rows - 1];
}

// z [rows, panels WIDTH] += x [rows, depth] w [panels, depth, WIDTH]
void product(int rows, int panels, Factors of) {
  for (int left = (rows + ROWS - 1) / ROWS; left > 0; left--) {  // in parts as even as can be
    const int part = (rows + left - 1) / left;
    const bool few = part <= FEW;
    Factors one = of;
    for (int panel = 0; panel < panels;) {
      const int at_once = few && panel + GATES <= panels ? GATES : 1;
      one.w = of.w + panel * of.w_panel;
      one.z = of.z + panel * WIDTH;
      if (at_once == GATES) of_rows<GATES>(part, std::make_integer_sequence<int, FEW>())(one);
      else of_rows<1>(part, std::make_integer_sequence<int, ROWS>())(one);
      panel += at_once;
    }
    rows -= part;
    of.x += part * of.x_row;
    of.z += part * of.z_row;
  }
}

struct Sizes {
  long T, B, D, H;
  long inputs() const { return D + H; }        // of a step: [x, h]
  long units() const { return up(H, WIDTH); }  // with those that fill up the last panel
};

// What is kept of steps for the backward pass: c before them [., H] and their gates i, f, g, o [., 4H].
struct Kept {
  float *cells, *gates;
};

struct Forward {
  const float *xs, *w, *b, *c, *h;     // [T, B, D]; packed; packed; [B, H]; [B, H]
  const bool* present;                 // [T, B], or null: all steps are there
  float *hs, *last_c, *last_h;         // [T, B, H], [B, H], [B, H]
  float *cells, *gates;                // null; or of all steps; or, without gates, cells before each segment
  long segment;
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
      if (to_h) std::memcpy(to_h + r * size.H, x + r * stride + size.D, size.H * sizeof(float));
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
    if (of.cells && !of.gates && t % of.segment == 0)
      steps.carry(of.cells + (t / of.segment * B + first) * H, nullptr);
    Kept kept{};
    if (of.gates) kept = {of.cells + at * H, of.gates + at * GATES * H};
    steps.step(of.xs + at * D, of.present ? of.present + at : nullptr, of.hs + at * H, kept);
  }
  steps.carry(of.last_c + first * H, of.last_h + first * H);
}

struct Backward {
  const float *xs, *hs, *h, *w, *b;        // as forwards: inputs, outputs, first h, weights
  const float* w_back;                     // packed: of h, then of x if d_xs is asked for, [., 4H, WIDTH]
  const float *cells, *gates;              // as kept
  const bool* present;                     // or null
  const float *d_hs, *d_c, *d_h;           // d_hs may be null: zeros
  float *d_w_x, *d_w_h, *d_b;              // [D, 4H], [H, 4H], [4H]
  float *d_xs, *d_c0, *d_h0;               // d_xs may be null
  float *norm_c, *norm_h;                  // [T, B], or null
  long segment;
};

// The gradient of the weights, and the steps that are still to be added to it: the sum of [x, h, 1]^T dz.
class Gradient {
 public:
  Gradient(const Sizes& size, long rows)
      : size(size), K(size.inputs() + 1), columns(GATES * size.H), panels(up(columns, WIDTH) / WIDTH),
        blocks((K + ROWS - 1) / ROWS), height((K + blocks - 1) / blocks), capacity(std::max(CHUNK, rows)),
        total(panels * blocks * height * WIDTH), input(blocks * height), inputs(blocks * height * capacity),
        dzs(panels * capacity * WIDTH) {
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

  void add() {
    for (long panel = 0; panel < panels; panel++)
      for (long n = 0; n < blocks; n++)
        product(height, 1,
                {inputs + n * capacity * height, 1, height, dzs + panel * capacity * WIDTH, 0, filled,
                 total + (panel * blocks + n) * height * WIDTH, WIDTH});
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
  Floats total, input, inputs, dzs;  // [panels, blocks height, WIDTH]; [x, h, 1]; [blocks, ., height]; [panels, ., WIDTH]
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
  const long recomputed = of.gates ? 0 : of.segment;
  Floats cells(recomputed * rows * H), gates(recomputed * rows * K);
  for (long t = size.T; t-- > 0;) {
    const long at = t * B + first;
    const float* before = t > 0 ? of.hs + (at - B) * H : of.h + first * H;
    const bool* present = of.present ? of.present + at : nullptr;
    const float *own_cells, *own_gates;
    if (!recomputed) {
      own_cells = of.cells + at * H;
      own_gates = of.gates + at * K;
    } else {
      const long start = t / recomputed * recomputed;
      if (t == size.T - 1 || (t + 1) % recomputed == 0) {
        const float* from = start > 0 ? of.hs + ((start - 1) * B + first) * H : of.h + first * H;
        Steps steps(size, rows, of.w, of.b, of.cells + (start / recomputed * B + first) * H, from);
        for (long n = 0; n <= t - start; n++) {
          const long then = (start + n) * B + first;
          steps.step(of.xs + then * D, of.present ? of.present + then : nullptr, nullptr,
                     {cells + n * rows * H, gates + n * rows * K});
        }
      }
      own_cells = cells + (t - start) * rows * H;
      own_gates = gates + (t - start) * rows * K;
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

// part(n, first, last) of all sequences for each thread n.
void over_threads(long sequences, long threads, const std::function<void(long, long, long)>& part) {
  std::vector<std::thread> others;
  for (long n = 1; n < threads; n++)
    others.emplace_back(part, n, sequences * n / threads, sequences * (n + 1) / threads);
  part(0, 0, sequences / threads);
  for (auto& other : others) other.join();
}

// Linux gives fresh memory page by page as it is written to, and takes longer for small pages than the layer for what
// it writes there: asks for large ones.
void in_large_pages(float* from, size_t count) {
#ifdef MADV_HUGEPAGE
  constexpr uintptr_t PAGE = 1 << 21;
  const uintptr_t first = (uintptr_t)from & ~(PAGE - 1), last = ((uintptr_t)(from + count) + PAGE - 1) & ~(PAGE - 1);
  if (count * sizeof(float) > PAGE / 2) madvise((void*)first, last - first, MADV_HUGEPAGE);
#endif
}

using In = ffi::Buffer<ffi::F32>;
using Out = ffi::Result<ffi::Buffer<ffi::F32>>;
using Flags = ffi::Buffer<ffi::PRED>;

template <typename B>
auto or_null(B& buffer) -> decltype(buffer.typed_data()) {
  return buffer.element_count() > 0 ? buffer.typed_data() : nullptr;
}

// Arrays without elements stand for those that are not there.
ffi::Error forward(In xs, In w, In b, In c, In h, Flags present, Out hs, Out last_c, Out last_h, Out cells, Out gates,
                   int64_t segment, int64_t threads) {
  const auto shape = xs.dimensions();
  const Sizes size{shape[0], shape[1], shape[2], c.dimensions()[1]};
  const Forward of{xs.typed_data(),   w.typed_data(),       b.typed_data(),       c.typed_data(),  h.typed_data(),
                   or_null(present),  hs->typed_data(),     last_c->typed_data(), last_h->typed_data(),
                   or_null(*cells),   or_null(*gates),      segment};
  for (Out* out : {&hs, &cells, &gates}) in_large_pages((*out)->typed_data(), (*out)->element_count());
  over_threads(size.B, std::min(threads, size.B),
               [&](long, long first, long last) { forward_part(of, size, first, last); });
  return ffi::Error::Success();
}

ffi::Error backward(In xs, In hs, In h, In w, In b, In w_back, In cells, In gates, Flags present, In d_hs, In d_c,
                    In d_h, Out d_w_x, Out d_w_h, Out d_b, Out d_xs, Out d_c0, Out d_h0, Out norm_c, Out norm_h,
                    int64_t segment, int64_t threads) {
  const auto shape = xs.dimensions();
  const Sizes size{shape[0], shape[1], shape[2], h.dimensions()[1]};
  const Backward of{xs.typed_data(), hs.typed_data(), h.typed_data(), w.typed_data(), b.typed_data(),
                    w_back.typed_data(), cells.typed_data(), or_null(gates), or_null(present), or_null(d_hs),
                    d_c.typed_data(), d_h.typed_data(), d_w_x->typed_data(), d_w_h->typed_data(), d_b->typed_data(),
                    or_null(*d_xs), d_c0->typed_data(), d_h0->typed_data(), or_null(*norm_c), or_null(*norm_h),
                    segment};
  threads = std::min(threads, size.B);
  std::vector<std::unique_ptr<Gradient>> gradients;
  for (long n = 0; n < threads; n++)
    gradients.push_back(std::make_unique<Gradient>(size, (size.B + threads - 1) / threads));
  over_threads(size.B, threads,
               [&](long n, long first, long last) { backward_part(of, size, first, last, *gradients[n]); });
  for (long n = 1; n < threads; n++) gradients[0]->join(*gradients[n]);
  gradients[0]->write(of);
  return ffi::Error::Success();
}

}  // namespace

extern "C" int width() { return WIDTH; }

#define FIVE(what) .what().what().what().what().what()
#define IN Arg<In>
#define OUT Ret<ffi::Buffer<ffi::F32>>

XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_forward, forward,
                              ffi::Ffi::Bind() FIVE(IN).Arg<Flags>() FIVE(OUT)
                                  .Attr<int64_t>("segment").Attr<int64_t>("threads"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_backward, backward,
                              ffi::Ffi::Bind() FIVE(IN).IN().IN().IN().Arg<Flags>().IN().IN().IN() FIVE(OUT)
                                  .OUT().OUT().OUT().Attr<int64_t>("segment").Attr<int64_t>("threads"));
