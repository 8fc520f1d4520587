"""4-bit weights in groups of 128 with f16 scales, through a kernel in Triton as one would write it today: codes unpacked in
registers, an f16 dot, tiles tuned by Triton itself.   python3 triton_int4.py 4096x28672 --m 1,16,4096 > triton.json"""
import torch, triton, triton.language as tl
from measure import arguments, copies_of, run

GROUP = 128
CONFIGS = [
    triton.Config(dict(BM=bm, BN=bn, BK=bk), num_warps=warps, num_stages=stages)
    for bm, bn, bk, warps, stages in ((16, 32, 128, 4, 4), (16, 64, 128, 4, 4), (16, 128, 64, 4, 4), (32, 64, 128, 4, 4),
                                      (64, 64, 64, 4, 4), (64, 128, 64, 8, 3), (128, 128, 64, 8, 3), (128, 256, 64, 8, 3))
]


@triton.autotune(configs=CONFIGS, key=['TOKENS', 'N', 'K'])
@triton.jit
def int4_matmul(x, w, s, y, M, TOKENS, N, K, GROUP: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """x: M x K f16; w: K/8 x N words of 8 codes along K; s: K/GROUP x N f16; y: M x N f16. TOKENS: M, rounded for tuning."""
    rm = tl.program_id(1) * BM + tl.arange(0, BM)
    rn = tl.program_id(0) * BN + tl.arange(0, BN)
    rk = tl.arange(0, BK)
    inside_m, inside_n = rm[:, None] < M, rn[None, :] < N
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        a = tl.load(x + rm[:, None] * K + k + rk[None, :], mask=inside_m, other=0.0)
        words = tl.load(w + ((k + rk) // 8)[:, None] * N + rn[None, :], mask=inside_n, other=0)
        codes = (words >> ((rk % 8) * 4)[:, None]) & 15
        scale = tl.load(s + (k // GROUP) * N + rn, mask=rn < N, other=0.0)
        acc += tl.dot(a, (codes - 8).to(tl.float16) * scale[None, :])
    tl.store(y + rm[:, None] * N + rn[None, :], acc.to(tl.float16), mask=inside_m & inside_n)


def pack(codes):
    """n x k codes 0 .. 15 as k/8 x n words."""
    n, k = codes.shape
    parts = codes.t().reshape(k // 8, 8, n)
    words = torch.zeros(k // 8, n, device=codes.device, dtype=torch.int32)
    for i in range(8): words |= parts[:, i].to(torch.int32) << (4 * i)
    return words


def make(k, n):
    if k % GROUP: raise SystemExit(f'{k}x{n}: K must be a multiple of {GROUP}')
    codes = torch.randint(0, 16, (n, k), device='cuda', dtype=torch.uint8)
    scale = torch.rand(k // GROUP, n, device='cuda', dtype=torch.float16) * 0.008 + 0.008
    dense = (codes.to(torch.float16) - 8) * scale.t().repeat_interleave(GROUP, 1)
    weights = copies_of(pack(codes))

    def multiply(i, x):
        m = x.shape[0]
        y = torch.empty(m, n, device='cuda', dtype=torch.float16)
        grid = lambda c: (triton.cdiv(n, c['BN']), triton.cdiv(m, c['BM']))
        int4_matmul[grid](x, weights[i], scale, y, m, triton.next_power_of_2(m), n, k, GROUP=GROUP)
        return y

    return n * k // 2 + 2 * scale.numel(), len(weights), dense, multiply


if __name__ == '__main__':
    run('Triton int4', 'u4b8 g128', *arguments(__doc__), make)
