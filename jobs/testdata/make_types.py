"""Makes `types.parquet` and `types.json`: what Feast 0.67 stores for pairs of types.

Every case is one column and the Feast type it is declared as. Each is materialized as a feature
view of its own into Feast's SQLite online store, so that one that fails takes no other along.
The columns then go into one Parquet file, padded with nulls at the end (the padding is not part
of what Feast saw); the JSON has the type codes and, per row, the stored value in hexadecimal, or
the error's class.

    pip install 'feast==0.67.0' pyarrow==26.0.1 pandas==2.3.3 numpy==2.4.6
    TZ=UTC python make_types.py
"""

import contextlib
import datetime as dt
import decimal
import io
import json
import logging
import os
import pathlib
import sqlite3
import tempfile
import warnings

import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.types import *
from feast.types import Set as FSet
from feast.value_type import ValueType

D = decimal.Decimal
L = pa.list_
A = lambda values, kind=None: pa.array(values, type=kind)
T = lambda unit, zone=None: pa.timestamp(unit, tz=zone)
nan, inf = float("nan"), float("inf")
t1 = dt.datetime(2024, 1, 2, 3, 4, 5, 123456)
t0 = dt.datetime(1969, 12, 31, 23, 59, 59, 500000)

CASES = [
    ('s_f32',A([0.1,1e16,1e-5,3.4028234e38,1.5,-0.0,nan,inf,123456.79,1e-4,9999999.0,1.17e-38,33554432.0],pa.float32()),String),
    ('s_f64',A([0.1,1e16,1e-5,1e15,1e22,1.5,-0.0,nan,inf,-inf,5e-324,123456789012345680.0]),String),
    ('s_f16',A([0.1,1.5,65504.0,6e-5],pa.float16()),String),
    ('s_bool',A([True,False]),String),
    ('s_booln',A([True,None,False]),String),
    ('s_ts_s',A([t1.replace(microsecond=0),None],T('s')),String),
    ('s_ts_ms',A([t1,t0],T('ms')),String),
    ('s_ts_us',A([t1,t0,None],T('us','America/New_York')),String),
    ('s_ts_ns',A([t1,t0],T('ns','UTC')),String),
    ('s_ts_nsn',A([t1,t0],T('ns')),String),
    ('s_d32',A([dt.date(2024,1,2),None,dt.date(1,1,1)]),String),
    ('s_d64',A([dt.date(2024,1,2),None],pa.date64()),String),
    ('s_bin',A([b"a",b"'",b"'\"",b"\\\n\t\r\x00\xff\x7f~",b'',None]),String),
    ('s_fsb',A([b"ab",None],pa.binary(2)),String),
    ('s_lbin',A([b"ab",None],pa.large_binary()),String),
    ('s_dec',A([D('1.50'),D('0.00'),D('-3.10'),None],pa.decimal128(10,2)),String),
    ('s_dec0',A([D('0E-10'),D('0.0000000001'),D('12.0000000000')],pa.decimal128(20,10)),String),
    ('s_dec256',A([D('1.50')],pa.decimal256(50,2)),String),
    ('s_u64',A([2**64-1,0],pa.uint64()),String),
    ('s_i8',A([-1],pa.int8()),String),
    ('s_dicti',A([1,2,1]).dictionary_encode(),String),
    ('s_dicts',A(['a',None,'b']).dictionary_encode(),String),
    ('s_ls',A(['a',None],pa.large_string()),String),
    ('s_sv',A(['a',None],pa.string_view()),String),
    ('s_bv',A([b'a',None],pa.binary_view()),String),
    ('s_null',pa.nulls(2),String),
    ('i_null',pa.nulls(2),Int64),
    ('ts_null',pa.nulls(2),UnixTimestamp),
    ('l_null',pa.nulls(2),Array(Int64)),
    ('m_null',pa.nulls(2),Map),
    ('j_null',pa.nulls(2),Json),
    ('b_null',pa.nulls(2),Bytes),
    ('s_time32',A([dt.time(1,2,3)],pa.time32('ms')),String),
    ('s_time64',A([dt.time(1,2,3,4)],pa.time64('us')),String),
    ('s_dur',A([dt.timedelta(seconds=1)],pa.duration('us')),String),
    ('s_list',A([[1,2],None]),String),
    ('s_listf',A([[1.5,2],None]),String),
    ('s_lists',A([['a','b']]),String),
    ('s_struct',A([{'a':1,'b':'x'},{'a':2,'b':None}]),String),
    ('i64_f',A([1.9,-1.9,nan,None,9.2e18]),Int64),
    ('i64_f32',A([1.9,-1.9,nan],pa.float32()),Int64),
    ('i64_big',A([9.3e18]),Int64),
    ('i64_u64',A([2**63-1,5],pa.uint64()),Int64),
    ('i64_u64b',A([2**63],pa.uint64()),Int64),
    ('i32_i64',A([2**31-1,-2**31]),Int32),
    ('i32_b',A([2**31]),Int32),
    ('i32_f',A([2147483647.9,-2147483648.9]),Int32),
    ('i64_s',A(['12',' 12 ','+5','-7','1_000',None,'\u0661']),Int64),
    ('i64_s1',A(['1.5']),Int64),
    ('i64_s2',A(['1e3']),Int64),
    ('i64_s3',A(['']),Int64),
    ('i64_s4',A(['0x10']),Int64),
    ('i64_s5',A(['99999999999999999999']),Int64),
    ('i64_s6',A(['007']),Int64),
    ('i64_s7',A(['1__0']),Int64),
    ('i64_dec',A([D('1.50'),D('-2.90'),None]),Int64),
    ('i64_bool',A([True,False]),Int64),
    ('i64_booln',A([True,None,False]),Int64),
    ('i64_ts',A([t1],T('us')),Int64),
    ('i64_ts_ns',A([t1,None],T('ns')),Int64),
    ('i64_tsz',A([t1],T('us','UTC')),Int64),
    ('i64_d32',A([dt.date(2024,1,2)]),Int64),
    ('i64_bin',A([b'12']),Int64),
    ('i64_f16',A([1.5],pa.float16()),Int64),
    ('i32_s',A(['12']),Int32),
    ('i64_dur',A([dt.timedelta(seconds=1)],pa.duration('us')),Int64),
    ('f_i64',A([1,2**53+1]),Float32),
    ('f_f64',A([1e300,-1e300,0.1,1e-50,None,nan]),Float32),
    ('f_s',A(['1.5']),Float32),
    ('f_s2',A(['abc']),Float32),
    ('f_dec',A([D('1.50'),None]),Float32),
    ('f_bool',A([True]),Float32),
    ('f_ts',A([t1],T('us')),Float32),
    ('f_booln',A([True,None]),Float32),
    ('f_f16',A([1.5],pa.float16()),Float32),
    ('f_u64',A([2**64-1],pa.uint64()),Float32),
    ('d_i64',A([1,2**53+1]),Float64),
    ('d_i64n',A([1,None]),Float64),
    ('d_i32n',A([1,None],pa.int32()),Float64),
    ('d_u64',A([1],pa.uint64()),Float64),
    ('d_u32',A([1],pa.uint32()),Float64),
    ('d_i8',A([1],pa.int8()),Float64),
    ('d_bool',A([True]),Float64),
    ('d_booln',A([True,None]),Float64),
    ('d_s',A(['1.5']),Float64),
    ('d_dec',A([D('1.50'),None]),Float64),
    ('d_f16',A([1.5],pa.float16()),Float64),
    ('d_ts',A([t1],T('us')),Float64),
    ('b_i64',A([0,1,-5]),Bool),
    ('b_i32',A([0,1],pa.int32()),Bool),
    ('b_f',A([0.0,1.0]),Bool),
    ('b_s',A(['true']),Bool),
    ('b_booln',A([True,None]),Bool),
    ('b_u64',A([1],pa.uint64()),Bool),
    ('t_i64',A([5,-5]),UnixTimestamp),
    ('t_i32',A([5,-5],pa.int32()),UnixTimestamp),
    ('t_u64',A([5],pa.uint64()),UnixTimestamp),
    ('t_i8',A([5],pa.int8()),UnixTimestamp),
    ('t_f',A([5.5,1.0]),UnixTimestamp),
    ('t_f32',A([5.5],pa.float32()),UnixTimestamp),
    ('t_s',A(['2024-01-01T00:00:00']),UnixTimestamp),
    ('t_s2',A(['5']),UnixTimestamp),
    ('t_d32',A([dt.date(2024,1,2),None,dt.date(1960,1,1)]),UnixTimestamp),
    ('t_d64',A([dt.date(2024,1,2),None],pa.date64()),UnixTimestamp),
    ('t_ms',A([t1,t0,None],T('ms')),UnixTimestamp),
    ('t_ns',A([t1,t0,None],T('ns')),UnixTimestamp),
    ('t_s_',A([t1.replace(microsecond=0),None],T('s')),UnixTimestamp),
    ('t_z',A([t1,t0],T('us','Asia/Tokyo')),UnixTimestamp),
    ('t_bool',A([True]),UnixTimestamp),
    ('t_dec',A([D('1.50')]),UnixTimestamp),
    ('t_year1',A([dt.datetime(1,1,1)],T('us')),UnixTimestamp),
    ('t_alln',A([None,None],T('us')),UnixTimestamp),
    ('t_d32alln',A([None,None],pa.date32()),UnixTimestamp),
    ('t_i64alln',A([None,None],pa.int64()),UnixTimestamp),
    ('by_fsb',A([b'ab',None],pa.binary(2)),Bytes),
    ('by_l',A([b'ab',b''],pa.large_binary()),Bytes),
    ('by_pdf',A([b'ab',b'']),PdfBytes),
    ('by_dict',A([b'ab',None]).dictionary_encode(),Bytes),
    ('by_i',A([1]),Bytes),
    ('u_s',A(['ABC',None,'']),Uuid),
    ('u_b',A([b'0123456789abcdef'],pa.binary(16)),Uuid),
    ('u_i',A([1]),Uuid),
    ('u_i32',A([1],pa.int32()),Uuid),
    ('u_f',A([1.5]),Uuid),
    ('u_bool',A([True]),Uuid),
    ('tu_s',A(['ABC',None]),TimeUuid),
    ('u_dec',A([D('1.5')]),Uuid),
    ('u_ts',A([t1],T('us')),Uuid),
    ('de_d',A([D('1.50'),D('0.00'),None]),Decimal),
    ('de_s',A(['1.50','abc',None,'']),Decimal),
    ('de_i',A([1]),Decimal),
    ('de_i32',A([1],pa.int32()),Decimal),
    ('de_256',A([D('1.50')],pa.decimal256(50,2)),Decimal),
    ('de_bool',A([True]),Decimal),
    ('de_in',A([1,None]),Decimal),
    ('de_e',A([D('0E-10'),D('0.0000000001')],pa.decimal128(20,10)),Decimal),
    ('de_b',A([b'1']),Decimal),
    ('js_s',A(['{"a": 1}',' [1, 2] ',None,'NaN','"x"','1','null','{"a":1,"a":2}','"\\ud800"','-Infinity','[1e400]']),Json),
    ('js_empty',A(['']),Json),
    ('js_bom',A(['\ufeff1']),Json),
    ('js_bad',A(['[1,]']),Json),
    ('js_bad2',A(['01']),Json),
    ('js_ctl',A(['"a\tb"']),Json),
    ('js_int',A([1]),Json),
    ('js_f',A([1.5]),Json),
    ('js_bool',A([True]),Json),
    ('js_bin',A([b'{"a":1}']),Json),
    ('js_big',A(['['*500+']'*500]),Json),
    ('js_st',A([{'a':1,'b':'\u00e9\U0001f600"\\\n\x7f\x01','c':[1,2],'d':None,'e':1.5,'f':{'g':[]},'h':True,'i':1e16,'j':inf}]),Json),
    ('js_stn',A([{'a':1,'e':nan},None,{'a':None,'e':None}]),Json),
    ('js_list',A([[1,2],[]]),Json),
    ('js_lst',A([[{'a':1}],[]]),Json),
    ('js_st_bin',A([{'a':b'x'}]),Json),
    ('js_st_ts',A([{'a':t1}]),Json),
    ('js_st_dec',A([{'a':D('1.5')}]),Json),
    ('js_st_d',A([{'a':dt.date(2024,1,1)}]),Json),
    ('js_st_f32',A([{'a':0.1}],pa.struct([('a',pa.float32())])),Json),
    ('js_st_i32',A([{'a':5}],pa.struct([('a',pa.int32())])),Json),
    ('js_st_li',A([{'a':[1,None]}]),Json),
    ('js_s_null',A([None,None],pa.string()),Json),
    ('m_s',A(['{"a":1,"b":1.5,"c":"x","d":true,"e":null,"f":{},"g":[],"h":[1,2],"i":[1.5],"j":["a"],"k":[true],"l":[[1],[2]],"m":[{"a":1}],"n":[1,2.5],"o":[1,"a"],"p":[null],"q":[null,1]}']),Map),
    ('m_s1',A(['{"n":[1,2.5]}']),Map),
    ('m_s2',A(['{"o":[1,"a"]}']),Map),
    ('m_s3',A(['{"p":[null]}']),Map),
    ('m_s4',A(['{"q":[1,null]}']),Map),
    ('m_s5',A(['{"q":[[1],["a"]]}']),Map),
    ('m_s6',A(['{"q":[{"a":1},null]}']),Map),
    ('m_s7',A(['{"q":["a",null]}']),Map),
    ('m_s8',A(['{"q":[true,1]}']),Map),
    ('m_s9',A(['{"q":9223372036854775808}']),Map),
    ('m_s9a',A(['{"q":[9223372036854775808]}']),Map),
    ('m_s10',A(['[1]']),Map),
    ('m_s11',A(['1']),Map),
    ('m_s12',A(['null']),Map),
    ('m_s13',A(['']),Map),
    ('m_s14',A(['{bad']),Map),
    ('m_s15',A(['{"q":NaN,"r":1e400,"i":[NaN]}']),Map),
    ('m_s16',A(['{"a":1,"a":2}']),Map),
    ('m_s17',A(['{"q":[1.5,null]}']),Map),
    ('m_s18',A(['{"q":[[],[1]]}']),Map),
    ('m_s19',A(['{"q":[true,null]}']),Map),
    ('m_s20',A(['{"q":[[1,[2]]]}']),Map),
    ('m_s21',A(['{"q":[[1],null]}']),Map),
    ('m_s22',A(['{"q":[1,true]}']),Map),
    ('m_s23',A(['{"q":[1.5,1]}']),Map),
    ('m_s24',A(['{"q":[2147483648,1]}']),Map),
    ('m_s25',A(['{"q":[[1.5],[2]]}']),Map),
    ('m_s26',A(['{"q":[null,"a"]}']),Map),
    ('m_s27',A(['{"q":"\\ud800"}']),Map),
    ('m_s28',A(['{"q":[[{"a":1}]]}']),Map),
    ('m_s29',A(['{"q":[{},{"a":null}]}']),Map),
    ('m_s30',A(['{"q":[null,{"a":1}]}']),Map),
    ('m_s31',A(['{"q":["a",1]}']),Map),
    ('m_s32',A(['{"q":[[[1]],[[2]]]}']),Map),
    ('m_s33',A(['{"q":[[null],[1]]}']),Map),
    ('m_s34',A(['{"q":[null,[1]]}']),Map),
    ('m_s35',A(['{"q":-1e999}']),Map),
    ('m_s36',A(['{"q":[1,1e400]}']),Map),
    ('m_b',A([b'{"a":1}']),Map),
    ('m_i',A([1]),Map),
    ('m_st',A([{'i32':1,'f32':0.5,'b':True,'s':'x','by':b'z','n':None,'l':[1,2]}],pa.struct([('i32',pa.int32()),
    ('f32',pa.float32()),
    ('b',pa.bool_()),
    ('s',pa.string()),
    ('by',pa.binary()),
    ('n',pa.int64()),
    ('l',L(pa.int64()))])),Map),
    ('m_st_i32',A([{'a':1}],pa.struct([('a',pa.int32())])),Map),
    ('m_st_f32',A([{'a':.5}],pa.struct([('a',pa.float32())])),Map),
    ('m_st_by',A([{'a':b'z'}]),Map),
    ('m_st_ts',A([{'a':t1}],pa.struct([('a',T('us'))])),Map),
    ('m_st_tsns',A([{'a':t1}],pa.struct([('a',T('ns'))])),Map),
    ('m_st_tsz',A([{'a':t1}],pa.struct([('a',T('us','UTC'))])),Map),
    ('m_st_d',A([{'a':dt.date(2024,1,1)}]),Map),
    ('m_st_dec',A([{'a':D('1.5')}]),Map),
    ('m_st_l',A([{'a':[1,2]},{'a':[]},{'a':None}]),Map),
    ('m_st_li32',A([{'a':[1,2]}],pa.struct([('a',L(pa.int32()))])),Map),
    ('m_st_lf32',A([{'a':[1.5]}],pa.struct([('a',L(pa.float32()))])),Map),
    ('m_st_lf',A([{'a':[1.5]}]),Map),
    ('m_st_ls',A([{'a':['x',None]}]),Map),
    ('m_st_lb',A([{'a':[True]}]),Map),
    ('m_st_lst',A([{'a':[{'b':1}]}]),Map),
    ('m_st_ll',A([{'a':[[1],[2]]}]),Map),
    ('m_st_lin',A([{'a':[1,None]}]),Map),
    ('m_st_lby',A([{'a':[b'x']}]),Map),
    ('m_st_f',A([{'a':nan,'b':inf}]),Map),
    ('m_st_lfn',A([{'a':[nan,None]}]),Map),
    ('m_st_map',pa.array([{'a':[('k',1)]}],pa.struct([('a',pa.map_(pa.string(),pa.int64()))])),Map),
    ('m_st_u64',A([{'a':2**64-1}],pa.struct([('a',pa.uint64())])),Map),
    ('m_st_bn',A([{'b':True},{'b':None}]),Map),
    ('m_st_time',A([{'a':dt.time(1,2)}]),Map),
    ('m_st_emptystr',A([{'a':''}]),Map),
    ('m_st_f16',A([{'a':.5}],pa.struct([('a',pa.float16())])),Map),
    ('m_st_dict',A([{'a':'x'}],pa.struct([('a',pa.dictionary(pa.int32(),pa.string()))])),Map),
    ('st_s',A(['{"a":1}',None]),Struct({'a':Int64})),
    ('ml_s',A(['[{"a":1},{}]','[]',None]),Array(Map)),
    ('ml_s1',A(['[1]']),Array(Map)),
    ('ml_s2',A(['{"a":1}']),Array(Map)),
    ('ml_s3',A(['[{"a":1},null]']),Array(Map)),
    ('ml_s4',A(['null']),Array(Map)),
    ('ml_st',A([[{'a':1},None],[]]),Array(Map)),
    ('sl_st',A([[{'a':1},{'a':None}],[],None]),Array(Struct({'a':Int64}))),
    ('ml_map',pa.array([[[('k',1)]]],L(pa.map_(pa.string(),pa.int64()))),Array(Map)),
    ('ml_ls',A([['{"a":1}']]),Array(Map)),
    ('l64_i32',A([[1,2],None],L(pa.int32())),Array(Int64)),
    ('l64_i8',A([[1,2]],L(pa.int8())),Array(Int64)),
    ('l64_u8',A([[1,2]],L(pa.uint8())),Array(Int64)),
    ('l64_u32',A([[1,2]],L(pa.uint32())),Array(Int64)),
    ('l64_u64',A([[1,2]],L(pa.uint64())),Array(Int64)),
    ('l32_i64',A([[1,2]]),Array(Int32)),
    ('l32_i64b',A([[2**31]]),Array(Int32)),
    ('l32_i16',A([[1]],L(pa.int16())),Array(Int32)),
    ('l64_f',A([[1.0]]),Array(Int64)),
    ('l64_s',A([['1']]),Array(Int64)),
    ('l64_b',A([[True]]),Array(Int64)),
    ('l64_n',A([[1,None]]),Array(Int64)),
    ('l64_nelsewhere',A([[1],None,[]]),Array(Int64)),
    ('l64_nulltype',A([[None]],L(pa.null())),Array(Int64)),
    ('l64_emptynulltype',A([[]],L(pa.null())),Array(Int64)),
    ('lf_f64',A([[1e300,nan,None,0.1]]),Array(Float32)),
    ('lf_i',A([[1,2]]),Array(Float32)),
    ('lf_i32',A([[1,2]],L(pa.int32())),Array(Float32)),
    ('lf_in',A([[1,None]]),Array(Float32)),
    ('lf_dec',A([[D('1.5')]]),Array(Float32)),
    ('lf_f16',A([[1.5]],L(pa.float16())),Array(Float32)),
    ('lf_b',A([[True]]),Array(Float32)),
    ('lf_s',A([['1']]),Array(Float32)),
    ('ld_f32',A([[0.1,None,nan]],L(pa.float32())),Array(Float64)),
    ('ld_i',A([[1]]),Array(Float64)),
    ('ld_dec',A([[D('1.5')]]),Array(Float64)),
    ('ld_f16',A([[0.1]],L(pa.float16())),Array(Float64)),
    ('ld_in',A([[1,None]]),Array(Float64)),
    ('ls_s',A([['a',None,''],[],None]),Array(String)),
    ('ls_i',A([[1]]),Array(String)),
    ('ls_ls',A([['a']],pa.large_list(pa.large_string())),Array(String)),
    ('ls_by',A([[b'a']]),Array(String)),
    ('ls_fsl',A([['a','b']],pa.list_(pa.string(),2)),Array(String)),
    ('ls_ts',A([[t1]],L(T('us'))),Array(String)),
    ('ls_f',A([[1.5]]),Array(String)),
    ('ls_b',A([[True]]),Array(String)),
    ('ls_dict',A([['a']],L(pa.dictionary(pa.int32(),pa.string()))),Array(String)),
    ('lby_by',A([[b'a',None]]),Array(Bytes)),
    ('lby_s',A([['a']]),Array(Bytes)),
    ('lby_fsb',A([[b'ab']],L(pa.binary(2))),Array(Bytes)),
    ('lb_b',A([[True,None,False]]),Array(Bool)),
    ('lb_i',A([[1,0]]),Array(Bool)),
    ('lb_i32',A([[1]],L(pa.int32())),Array(Bool)),
    ('lb_in',A([[1,None]]),Array(Bool)),
    ('lb_s',A([['a']]),Array(Bool)),
    ('lb_f',A([[1.0]]),Array(Bool)),
    ('lt_us',A([[t1,t0,None]],L(T('us'))),Array(UnixTimestamp)),
    ('lt_ns',A([[t1,t0,None]],L(T('ns'))),Array(UnixTimestamp)),
    ('lt_z',A([[t1,t0]],L(T('ms','Asia/Tokyo'))),Array(UnixTimestamp)),
    ('lt_i',A([[5,-5]]),Array(UnixTimestamp)),
    ('lt_i32',A([[5]],L(pa.int32())),Array(UnixTimestamp)),
    ('lt_f',A([[5.5]]),Array(UnixTimestamp)),
    ('lt_d',A([[dt.date(2024,1,2),None]]),Array(UnixTimestamp)),
    ('lt_in',A([[5,None]]),Array(UnixTimestamp)),
    ('lt_s',A([['5']]),Array(UnixTimestamp)),
    ('lu_s',A([['x',None]]),Array(Uuid)),
    ('lu_b',A([[b'0123456789abcdef']]),Array(Uuid)),
    ('lu_i',A([[1]]),Array(Uuid)),
    ('ltu_s',A([['x',None]]),Array(TimeUuid)),
    ('lde_d',A([[D('1.50'),None]]),Array(Decimal)),
    ('lde_s',A([['1.50','abc',None]]),Array(Decimal)),
    ('lde_i',A([[1]]),Array(Decimal)),
    ('lde_f',A([[1.5]]),Array(Decimal)),
    ('lj_s',A([['{"a":1}',None,'2']]),Array(Json)),
    ('lj_bad',A([['{']]),Array(Json)),
    ('lj_st',A([[{'a':1},None]]),Array(Json)),
    ('lj_i',A([[1,2]]),Array(Json)),
    ('lj_f',A([[1.5,nan]]),Array(Json)),
    ('lj_b',A([[True]]),Array(Json)),
    ('lj_e',A([['']]),Array(Json)),
    ('lj_ll',A([[[1]]]),Array(Json)),
    ('lx_bin',A([b'[1,2]']),Array(Int64)),
    ('lx_str',A(['[1,2]']),Array(Int64)),
    ('lx_bins',A([b'["a",null]']),Array(String)),
    ('lx_strs',A(['["a"]']),Array(String)),
    ('lx_binf',A([b'[1.5,2]']),Array(Float64)),
    ('lx_binff',A([b'[1.5,2]']),Array(Float32)),
    ('lx_binb',A([b'[true]']),Array(Bool)),
    ('lx_bint',A([b'[5]']),Array(UnixTimestamp)),
    ('lx_binn',A([b'null']),Array(Int64)),
    ('lx_bino',A([b'{"a":1}']),Array(String)),
    ('lx_bin1',A([b'1']),Array(Int64)),
    ('lx_bine',A([b'[]',None]),Array(Int64)),
    ('lx_binb64',A([b'["YQ=="]']),Array(Bytes)),
    ('lx_binj',A([b'[{"a":1}]']),Array(Json)),
    ('lx_bind',A([b'["1.5"]']),Array(Decimal)),
    ('lx_bad',A([b'[']),Array(Int64)),
    ('lx_int',A([1]),Array(Int64)),
    ('lx_binin',A([b'[1,null]']),Array(Int64)),
    ('lx_binu',A([b'["x"]']),Array(Uuid)),
    ('lx_lbin',A([b'[1,2]'],pa.large_binary()),Array(Int64)),
    ('lx_binjs',A([b'["1"]']),Array(Json)),
    ('lx_bindn',A([b'[1.5,null]']),Array(Float64)),
    ('lx_bini32',A([b'[1]']),Array(Int32)),
    ('st_i',A([[3,1,3],[],None]),FSet(Int64)),
    ('st_i32',A([[3,1,3]],L(pa.int32())),FSet(Int32)),
    ('st_s_b',A([['a','b','a',None,None]]),FSet(String)),
    ('st_f',A([[1.5,1.5,nan,nan,0.0,-0.0]]),FSet(Float64)),
    ('st_f32',A([[1.5,0.1,0.1]],L(pa.float32())),FSet(Float32)),
    ('st_b',A([[True,True,False,None]]),FSet(Bool)),
    ('st_t',A([[t1,t1,t1.replace(microsecond=0)]],L(T('us'))),FSet(UnixTimestamp)),
    ('st_by',A([[b'a',b'a']]),FSet(Bytes)),
    ('st_u',A([['x','x']]),FSet(Uuid)),
    ('st_de',A([[D('1.50'),D('1.50')]]),FSet(Decimal)),
    ('st_des',A([['1.50','1.5']]),FSet(Decimal)),
    ('st_in',A([[1,None]]),FSet(Int64)),
    ('st_tn',A([[t1,None,None]],L(T('us'))),FSet(UnixTimestamp)),
    ('st_f32f64',A([[0.1,0.1,0.1+1e-12]]),FSet(Float32)),
    ('st_fdf32',A([[0.1,0.1]],L(pa.float32())),FSet(Float64)),
    ('st_i64i32',A([[1,1]]),FSet(Int32)),
    ('st_x',A([b'[1,1,2]']),FSet(Int64)),
    ('st_tu',A([['x','x',None]]),FSet(TimeUuid)),
    ('n_i',A([[[1,2],[3]],[[],None],[],None]),Array(Array(Int64))),
    ('n_i32',A([[[1,2]]],L(L(pa.int32()))),Array(Array(Int32))),
    ('n_i8',A([[[1,2]]],L(L(pa.int8()))),Array(Array(Int32))),
    ('n_i16',A([[[1,2]]],L(L(pa.int16()))),Array(Array(Int64))),
    ('n_u8',A([[[1,2]]],L(L(pa.uint8()))),Array(Array(Int64))),
    ('n_u64',A([[[1,2]]],L(L(pa.uint64()))),Array(Array(Int64))),
    ('n_f32',A([[[1.5,nan]]],L(L(pa.float32()))),Array(Array(Float32))),
    ('n_f16',A([[[1.5]]],L(L(pa.float16()))),Array(Array(Float32))),
    ('n_f64',A([[[1.5,None]]]),Array(Array(Float64))),
    ('n_s',A([[['a',None]],[['b']]]),Array(Array(String))),
    ('n_s0',A([[['a']]]),Array(Array(String))),
    ('n_b',A([[[True]]]),Array(Array(Bool))),
    ('n_by',A([[[b'x']]]),Array(Array(Bytes))),
    ('n_ts',A([[[t1]]],L(L(T('us')))),Array(Array(UnixTimestamp))),
    ('n_tsns',A([[[t1]]],L(L(T('ns')))),Array(Array(UnixTimestamp))),
    ('n_d',A([[[dt.date(2024,1,1)]]]),Array(Array(UnixTimestamp))),
    ('n_dec',A([[[D('1.5')]]]),Array(Array(Decimal))),
    ('n_in',A([[[1,None]]]),Array(Array(Int64))),
    ('n_3',A([[[[1],[2]],[[3]]],[[[],None],[],None]]),Array(Array(Array(Int64)))),
    ('n_mix',A([[[1]]],L(L(pa.int64()))),Array(Array(Int32))),
    ('n_sd',A([[[1,1,2]]]),Array(FSet(Int64))),
    ('n_vs',A([[[1,1],[1,1]]]),FSet(Array(Int64))),
    ('n_flat',A([[1,2]]),Array(Array(Int64))),
    ('n_str',A(['[[1],[2]]']),Array(Array(Int64))),
    ('n_bin',A([b'[[1],[2]]']),Array(Array(Int64))),
    ('n_st',A([[[{'a':1}]]]),Array(Array(Map))),
    ('n_bn',A([[[True,None]]]),Array(Array(Bool))),
    ('n_floats_int',A([[[1.5],[2.0]]]),Array(Array(Int64))),
    ('n_nulltype',A([[[]]],L(L(pa.null()))),Array(Array(Int64))),
    ('z_st',A([t1],T('us','UTC')),ZonedTimestamp),
    ('z_s',A(['2024-01-01T00:00:00+01:00']),ZonedTimestamp),
    ('alln_s',A([None,None],pa.string()),String),
    ('alln_l',A([None,None],L(pa.int64())),Array(Int64)),
    ('alln_m',A([None,None],pa.string()),Map),
    ('alln_st',A([None,None],pa.struct([('a',pa.int64())])),Map),
    ('alln_b',A([None,None],pa.bool_()),Bool),
    ('alln_n',A([None,None],L(L(pa.int64()))),Array(Array(Int64))),
    ('alln_d',A([None,None],pa.decimal128(3,1)),Decimal),
    ('alln_bs',A([None,None],pa.bool_()),Bool),
    ('alln_f',A([None,None],pa.float64()),Float64),
    ('m_ts',A([{'a':t0}],pa.struct([('a',T('us'))])),Map),
    ('n_ts_b',A([[[t0]]],L(L(T('us')))),Array(Array(UnixTimestamp))),
    ('n_tsn',A([[[t1]]],L(L(T('ns')))),Array(Array(UnixTimestamp))),
    ('m_lxy',A([{'a':['x','y']}]),Map),
    ('m_lx',A([{'a':['x']}]),Map),
    ('j_inf',A([{'a':inf,'b':{'c':1,'d':'\u00e9\U0001f600"\\\n\x7f\x01/'},'t':True,'f':1e16}]),Json),
    ('m_nest',A([{'a':{'b':{'c':1}}},{'a':None},{'a':{'b':None}}]),Map),
    ('m_lts',A([{'a':[t1]}],pa.struct([('a',L(T('us')))])),Map),
    ('m_ldec',A([{'a':[D('1.5')]}]),Map),
    ('m_li8',A([{'a':[1]}],pa.struct([('a',L(pa.int8()))])),Map),
    ('m_lu64',A([{'a':[1]}],pa.struct([('a',L(pa.uint64()))])),Map),
    ('m_empty',A(['{}','{"":1}']),Map),
    ('m_dt',A(['{"a":"2024-01-01"}']),Map),
    ('f_sn',A(['nan',' 1_0.5 ','inf','-Infinity',None]),Float32),
    ('f_sx',A(['1e5']),Float32),
    ('s_date_old',A([dt.datetime(1,1,1,0,0,1)],T('us')),String),
    ('s_time_ns',A([1001],pa.time64('ns')),String),
    ('i64_sw',A(['\u00a012\t\n']),Int64),
    ('n_s2',A([[['a'],['b','c']],[]]),Array(Array(String))),
    ('n_date',A([[[dt.date(1960,1,1)]]]),Array(Array(UnixTimestamp))),
    ('j_stnan',A([{'a':nan,'b':1}]),Json),
    ('j_dictcol',A(['{"a":1}',None]).dictionary_encode(),Json),
    ('l_date',A([[D('1.50')]]),Array(String)),
    ('t_strn',A(['5',None]),UnixTimestamp),
    ('t_booln',A([True,None]),UnixTimestamp),
    ('t_decn',A([D('1.50'),None]),UnixTimestamp),
    ('m_time',A([{'a':t1}],pa.struct([('a',T('ms'))])),Map),
    ('m_tss',A([{'a':t1}],pa.struct([('a',T('ns','UTC'))])),Map)
]

YAML = """\
project: p
provider: local
registry: data/registry.db
online_store: {type: sqlite, path: data/online.db}
offline_store: {type: file}
entity_key_serialization_version: 3
"""


@contextlib.contextmanager
def quiet():
    sink = io.StringIO()
    with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield


def view(place, array, kind, entity):
    rows = len(array)
    when = pa.array([dt.datetime(2024, 1, 1)] * rows, T("us", "UTC"))
    table = pa.table({"id": pa.array(range(1, rows + 1), pa.int64()), "ts": when, "f": array})
    path = f"data/{place}.parquet"
    pq.write_table(table, path)
    source = FileSource(name=f"s{place}", path=path, timestamp_field="ts")
    schema = [Field(name="id", dtype=Int64), Field(name="f", dtype=kind)]
    return FeatureView(
        name=f"v{place}", entities=[entity], ttl=dt.timedelta(0), schema=schema, source=source
    )


def stored(place):
    connection = sqlite3.connect("data/online.db")
    rows = connection.execute(f"select entity_key, value from p_v{place}").fetchall()
    connection.close()
    rows.sort(key=lambda row: int.from_bytes(row[0][-8:], "little"))
    return [row[1].hex() for row in rows]


def main():
    here = pathlib.Path(__file__).parent.resolve()
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    os.chdir(tempfile.mkdtemp())
    os.mkdir("data")
    pathlib.Path("feature_store.yaml").write_text(YAML)
    entity = Entity(name="e", join_keys=["id"], value_type=ValueType.INT64)
    store = FeatureStore(".")
    views = [view(place, array, kind, entity) for place, (_, array, kind) in enumerate(CASES)]
    with quiet():
        store.apply([entity, *views])
    results = []
    for place, (name, array, kind) in enumerate(CASES):
        result = {"name": name, "type": kind.to_value_type().value}
        try:
            with quiet():
                store.materialize(
                    dt.datetime(2023, 1, 1), dt.datetime(2025, 1, 1), feature_views=[f"v{place}"]
                )
            result["values"] = stored(place)
        except Exception as error:
            result["error"] = type(error).__name__
            result["rows"] = len(array)
        results.append(result)
    longest = max(len(array) for _, array, _ in CASES)
    pad = lambda array: pa.concat_arrays([array, pa.nulls(longest - len(array), array.type)])
    columns = {name: pad(array) for name, array, _ in CASES}
    columns["id"] = pa.array(range(longest), pa.int64())
    columns["ts"] = pa.array([dt.datetime(2024, 1, 1)] * longest, T("us", "UTC"))
    pq.write_table(pa.table(columns), here / "types.parquet", compression="zstd")
    lines = ",\n".join(json.dumps(result) for result in results)
    (here / "types.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
