"""cuBLAS f16 through torch, timed as lathe_bench times: a graph of launches over rotating weights, medians. One line of
JSON for each case.   python3 cublas.py 4096x28672 1,16,4096"""
import json, sys, torch

def median_us(graph, turns, replays):
    times = []
    for _ in range(replays):
        a, b = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        a.record(); graph.replay(); b.record(); b.synchronize()
        times.append(a.elapsed_time(b) * 1e3 / turns)
    return sorted(times)[len(times) // 2]

k, n = map(int, sys.argv[1].split('x'))
copies = max(1, -(-300_000_000 // (2 * n * k)))
weights = [torch.randn(n, k, device='cuda', dtype=torch.float16) * 0.02 for _ in range(copies)]
for m in map(int, sys.argv[2].split(',')):
    heavy = m * n * k > 1e11
    turns = 4 if heavy else 24
    x = torch.randn(m, k, device='cuda', dtype=torch.float16)
    for w in weights: torch.matmul(x, w.t())
    torch.cuda.synchronize()
    g = torch.cuda.CUDAGraph()
    with torch.cuda.graph(g):
        for i in range(turns): y = torch.matmul(x, weights[i % copies].t())
    for _ in range(4 if heavy else 60): g.replay()
    us = median_us(g, turns, 5 if heavy else 25)
    print(json.dumps(dict(device='cublas f16', k=k, n=n, m=m, us=us, tflops=2e-6 * m * n * k / us)), flush=True)
