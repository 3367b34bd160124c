// An LSTM layer over time in float32: what lstm_kernel.py calls through jax.ffi.
//
// Why by hand: XLA packs both factors of a matrix product at every step, and writes z, dz and their parts to memory.
// Here weights come packed once, in panels of WIDTH columns; what a panel gives for all sequences stays in the caches
// until their gates are computed; and dz of so many steps goes from the cache into the weights' gradient.

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "lstm_layer.h"
#include "xla/ffi/api/ffi.h"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace ffi = xla::ffi;

namespace {

// part(n, first, last) of all sequences for each thread n; what goes wrong is memory that there is not.
ffi::Error over_threads(long sequences, long threads, const std::function<void(long, long, long)>& part) {
  std::atomic<bool> failed{false};
  const auto run = [&](long n) {
    try {
      part(n, sequences * n / threads, sequences * (n + 1) / threads);
    } catch (...) {
      failed = true;
    }
  };
  std::vector<std::thread> others;
  for (long n = 1; n < threads; n++) {
    try {
      others.emplace_back(run, n);
    } catch (...) {  // no more threads are given
      run(n);
    }
  }
  run(0);
  for (auto& other : others) other.join();
  if (failed) return ffi::Error(ffi::ErrorCode::kResourceExhausted, "an LSTM layer: out of memory");
  return ffi::Error::Success();
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
                   Out hiddens, int64_t segment, int64_t threads) {
  const auto shape = xs.dimensions();
  const Sizes size{shape[0], shape[1], shape[2], c.dimensions()[1], segment};
  const Forward of{xs.typed_data(),   w.typed_data(),       b.typed_data(),       c.typed_data(),  h.typed_data(),
                   or_null(present),  hs->typed_data(),     last_c->typed_data(), last_h->typed_data(),
                   or_null(*cells),   or_null(*gates),      or_null(*hiddens)};
  for (Out* out : {&hs, &cells, &gates}) in_large_pages((*out)->typed_data(), (*out)->element_count());
  return over_threads(size.B, threads, [&](long, long first, long last) { forward_part(of, size, first, last); });
}

ffi::Error backward(In xs, In hs, In h, In w, In b, In w_back, In cells, In gates, In hiddens, Flags present, In d_hs,
                    In d_c, In d_h, Out d_w_x, Out d_w_h, Out d_b, Out d_xs, Out d_c0, Out d_h0, Out norm_c,
                    Out norm_h, int64_t segment, int64_t threads) {
  const auto shape = xs.dimensions();
  const Sizes size{shape[0], shape[1], shape[2], d_h.dimensions()[1], segment};
  const Backward of{xs.typed_data(),     hs.typed_data(),     h.typed_data(),    w.typed_data(),   b.typed_data(),
                    w_back.typed_data(), cells.typed_data(),  or_null(gates),    or_null(hiddens), or_null(present),
                    or_null(d_hs),       d_c.typed_data(),    d_h.typed_data(),  d_w_x->typed_data(),
                    d_w_h->typed_data(), d_b->typed_data(),   or_null(*d_xs),    d_c0->typed_data(),
                    d_h0->typed_data(),  or_null(*norm_c),    or_null(*norm_h)};
  std::vector<std::unique_ptr<Gradient>> gradients;
  for (long n = 0; n < threads; n++)
    gradients.push_back(std::make_unique<Gradient>(size, (size.B + threads - 1) / threads));
  const ffi::Error error = over_threads(
      size.B, threads, [&](long n, long first, long last) { backward_part(of, size, first, last, *gradients[n]); });
  for (long n = 1; n < threads; n++) gradients[0]->join(*gradients[n]);
  gradients[0]->write(of);
  return error;
}

}  // namespace

extern "C" int width() { return WIDTH; }

#define FIVE(what) .what().what().what().what().what()
#define IN Arg<In>
#define OUT Ret<ffi::Buffer<ffi::F32>>

XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_forward, forward,
                              ffi::Ffi::Bind() FIVE(IN).Arg<Flags>() FIVE(OUT).OUT()
                                  .Attr<int64_t>("segment").Attr<int64_t>("threads"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(lstm_backward, backward,
                              ffi::Ffi::Bind() FIVE(IN).IN().IN().IN().IN().Arg<Flags>().IN().IN().IN() FIVE(OUT)
                                  .OUT().OUT().OUT().Attr<int64_t>("segment").Attr<int64_t>("threads"));
