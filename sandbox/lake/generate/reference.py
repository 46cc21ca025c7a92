"""Code lists: districts (GB/T 2260) and industries (GB/T 4754-2017), with the city's shares.

The shares of firms are our own assumption, made to look like a port city with home appliances,
tyres, food and garments among its factories.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

DISTRICTS = (
    ("370202", "市南区", "Shinan", "district", 0.09),
    ("370203", "市北区", "Shibei", "district", 0.13),
    ("370211", "西海岸新区(黄岛区)", "West Coast New Area (Huangdao)", "district", 0.21),
    ("370212", "崂山区", "Laoshan", "district", 0.09),
    ("370213", "李沧区", "Licang", "district", 0.08),
    ("370214", "城阳区", "Chengyang", "district", 0.13),
    ("370215", "即墨区", "Jimo", "district", 0.12),
    ("370281", "胶州市", "Jiaozhou", "county-level city", 0.08),
    ("370283", "平度市", "Pingdu", "county-level city", 0.04),
    ("370285", "莱西市", "Laixi", "county-level city", 0.03),
)
"""Code, names, kind, share of firms."""

FORMER_DISTRICTS = (
    ("370205", "四方区", "1951-01-01", "2012-12-01", "370203"),
    ("370222", "即墨县", "1961-01-01", "1989-07-01", "370215"),
    ("370282", "即墨市", "1989-07-01", "2017-10-30", "370215"),
    ("370284", "胶南市", "1990-12-18", "2012-12-01", "370211"),
)
"""Codes that old papers carry: code, name, from, until, code today. Days are approximate."""

SECTIONS = {
    "A": ("农、林、牧、渔业", "Agriculture", 2.0),
    "B": ("采矿业", "Mining", 0.1),
    "C": ("制造业", "Manufacturing", 12.5),
    "D": ("电力、热力、燃气及水生产和供应业", "Utilities", 0.2),
    "E": ("建筑业", "Construction", 7.5),
    "F": ("批发和零售业", "Wholesale & retail", 31.5),
    "G": ("交通运输、仓储和邮政业", "Transport, storage & post", 6.0),
    "H": ("住宿和餐饮业", "Accommodation & catering", 3.5),
    "I": ("信息传输、软件和信息技术服务业", "IT", 5.5),
    "J": ("金融业", "Finance", 0.5),
    "K": ("房地产业", "Real estate", 2.6),
    "L": ("租赁和商务服务业", "Leasing & business services", 12.0),
    "M": ("科学研究和技术服务业", "R&D & technical", 8.0),
    "N": ("水利、环境和公共设施管理业", "Water, environment & public facilities", 0.7),
    "O": ("居民服务、修理和其他服务业", "Resident services", 3.5),
    "P": ("教育", "Education", 0.7),
    "Q": ("卫生和社会工作", "Health & social work", 0.4),
    "R": ("文化、体育和娱乐业", "Culture, sports & entertainment", 1.8),
    "S": ("公共管理、社会保障和社会组织", "Public administration", 0.0),
    "T": ("国际组织", "International organisations", 0.0),
}
"""Chinese name, English name, share of firms in percent of what is listed."""

_DIVISIONS = {
    "A": "01农业 02林业 03畜牧业 04渔业 05农林牧渔服务业",
    "B": "06煤炭开采 07油气开采 08黑色金属矿 09有色金属矿 10非金属矿 11开采辅助 12其他采矿",
    "C": "13农副食品 14食品 15酒饮料茶 16烟草 17纺织 18服装 19皮革鞋 20木材 21家具 22造纸 23印刷 "
    "24文体用品 25石油煤炭加工 26化学 27医药 28化纤 29橡胶塑料 30非金属制品 31黑色冶炼 32有色冶炼 "
    "33金属制品 34通用设备 35专用设备 36汽车 37铁路船舶航空 38电气机械 39计算机通信电子 40仪器仪表 "
    "41其他制造 42废弃资源利用 43机械修理",
    "D": "44电力热力 45燃气 46水的生产供应",
    "E": "47房屋建筑 48土木工程 49建筑安装 50建筑装饰",
    "F": "51批发 52零售",
    "G": "53铁路运输 54道路运输 55水上运输 56航空运输 57管道运输 58多式联运代理 59装卸仓储 60邮政",
    "H": "61住宿 62餐饮",
    "I": "63电信 64互联网 65软件信息服务",
    "J": "66货币金融 67资本市场 68保险 69其他金融",
    "K": "70房地产",
    "L": "71租赁 72商务服务",
    "M": "73研究试验 74专业技术 75科技推广",
    "N": "76水利 77生态环保 78公共设施 79土地管理",
    "O": "80居民服务 81修理 82其他服务",
    "P": "83教育",
    "Q": "84卫生 85社会工作",
    "R": "86新闻出版 87广电影视 88文化艺术 89体育 90娱乐",
    "S": "91党的机关 92国家机构 93政协民主党派 94社会保障 95群众团体 96基层自治",
    "T": "97国际组织",
}

INDUSTRIES = tuple(
    (word[:2], word[2:], section) for section, words in _DIVISIONS.items() for word in words.split()
)
"""Code, Chinese name, section."""

_HEAVIER = {
    **dict.fromkeys(["13", "18", "29", "33", "34", "35", "72"], 4.0),
    **dict.fromkeys(["14", "17", "26", "37", "51"], 3.0),
    "38": 5.0,
    "52": 2.0,
    "54": 6.0,
    "62": 2.0,
    "65": 6.0,
    "16": 0.05,
    "53": 0.1,
    "56": 0.3,
    "57": 0.1,
    "60": 0.5,
}
"""Divisions with more or fewer firms than others of their section."""

KWH_PER_10000_YUAN = dict.fromkeys(SECTIONS, 40) | {
    "A": 120,
    "B": 500,
    "C": 350,
    "D": 600,
    "E": 60,
    "H": 220,
    "O": 90,
    "R": 110,
}
"""Use of power for each 10,000 yuan of sales, by section."""
VALUE_ADDED_TAX = (
    dict.fromkeys(SECTIONS, 0.06) | dict.fromkeys("BCDF", 0.13) | dict.fromkeys("AEGK", 0.09)
)
"""General rates 13, 9 and 6 percent, by section."""


def division_shares() -> NDArray[np.float64]:
    """Return each division's share of firms, in the order of `INDUSTRIES`."""
    weights = np.array([_HEAVIER.get(code, 1.0) for code, _, _ in INDUSTRIES])
    sections = np.array([section for _, _, section in INDUSTRIES])
    for section, (_, _, share) in SECTIONS.items():
        members = sections == section
        weights[members] *= share / weights[members].sum()
    return np.asarray(weights / weights.sum())


def districts() -> pa.Table:
    """Return the public table of districts."""
    codes, zh, en, kinds, _ = zip(*DISTRICTS, strict=True)
    names = ["district_code", "district_name_zh", "district_name_en", "kind"]
    return pa.table([codes, zh, en, kinds], names)


def district_history() -> pa.Table:
    """Return the public table of former district codes."""
    codes, names, begins, ends, current = zip(*FORMER_DISTRICTS, strict=True)
    days = [pa.array(np.array(each, dtype="datetime64[D]")) for each in (begins, ends)]
    columns = ["district_code", "district_name_zh", "valid_from", "valid_until", "current_code"]
    return pa.table([codes, names, *days, current], columns)


def industries() -> pa.Table:
    """Return the public table of industries."""
    return pa.table(
        {
            "industry_code": [code for code, _, _ in INDUSTRIES],
            "name_zh": [name for _, name, _ in INDUSTRIES],
            "section": [section for _, _, section in INDUSTRIES],
            "section_name_en": [SECTIONS[section][1] for _, _, section in INDUSTRIES],
            "section_name_zh": [SECTIONS[section][0] for _, _, section in INDUSTRIES],
        }
    )
