import os,time
d='/work/tmp/fs';os.makedirs(d,exist_ok=True)
for size in (4096,262144,8<<20):
    b=os.urandom(size);ts=[]
    for i in range(60 if size<1e6 else 15):
        t=time.perf_counter()
        f=os.open(f'{d}/t{i}',os.O_CREAT|os.O_WRONLY);os.write(f,b);os.fsync(f);os.close(f)
        t1=time.perf_counter()
        os.rename(f'{d}/t{i}',f'{d}/u{i}');g=os.open(d,os.O_RDONLY);os.fsync(g);os.close(g)
        ts.append((time.perf_counter()-t,t1-t))
    ts.sort();print(size,'file+dir p50 %.2fms p99 %.2fms  file only %.2f'%(ts[len(ts)//2][0]*1e3,ts[-1][0]*1e3,sorted(x[1] for x in ts)[len(ts)//2]*1e3))
