"""The township and who works there. Codes and names of the places are real (server/data/areas.csv); people and sites are invented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from contracts.people import Role

COUNTY: Final = 610902
COUNTY_NAME: Final = "汉滨区"
TOWNSHIP: Final = "610902114"
TOWNSHIP_NAME: Final = "茨沟镇"

CHAIHE: Final = "610902114209"  # 柴河村
CIKOU: Final = "610902114205"  # 茨口村
YINGPANYA: Final = "610902114223"  # 营盘垭村
WANGMANG: Final = "610902114229"  # 王莽村
FOYEYAN: Final = "610902114211"  # 佛爷岩村
HONGYAN: Final = "610902114220"  # 红岩村
TIECHI: Final = "610902114226"  # 铁尺村
ERLANG: Final = "610902114228"  # 二郎村
XIGOU: Final = "610902114225"  # 西沟村
BAIYAN: Final = "610902114208"  # 白岩村
ENVIRONMENT: Final = "610902-env_bureau"
HOUSING: Final = "610902-housing_bureau"
WATER: Final = "610902-water_bureau"
QINLING_OFFICE: Final = "610902-qinling_office"

ADMIN_NUMBER: Final = "13900000099"
ADMIN_NAME: Final = "方正"

ROLE_NAMES: Final = {
    Role.GRID_MEMBER: "网格员",
    Role.QINLING_GRID_MEMBER: "秦岭网格员",
    Role.VILLAGE_LEAD: "村负责人",
    Role.TOWNSHIP_STAFF: "镇办工作人员",
    Role.TOWNSHIP_LEAD: "镇办负责人",
    Role.DEPARTMENT_STAFF: "部门经办人",
    Role.DEPARTMENT_LEAD: "部门负责人",
    Role.AUDITOR: "审计",
    Role.COUNTY_SUPERVISOR: "区督办",
}


@dataclass(frozen=True)
class Member:
    """Somebody with a phone. `key`: pinyin, the name of the phone's file."""

    key: str
    name: str
    role: Role
    unit: str
    number: str

    @property
    def title(self) -> str:
        return ROLE_NAMES[self.role]


def _members() -> list[Member]:
    grid, qinling = Role.GRID_MEMBER, Role.QINLING_GRID_MEMBER
    cast = [
        ("shen", "沈立春", grid, CHAIHE),
        ("luo", "罗桂香", grid, CHAIHE),
        ("wang", "王德厚", grid, CIKOU),
        ("chen", "陈明霞", Role.VILLAGE_LEAD, CIKOU),
        ("ma", "马兴旺", grid, YINGPANYA),
        ("tan", "谭小平", grid, WANGMANG),
        ("xie", "谢青山", qinling, FOYEYAN),
        ("he", "何满仓", qinling, HONGYAN),
        ("zhou", "周家顺", grid, TIECHI),
        ("dai", "戴春兰", grid, ERLANG),
        ("fan", "范长庚", grid, XIGOU),
        ("peng", "彭志强", grid, BAIYAN),
        ("ding", "丁晓燕", Role.TOWNSHIP_STAFF, TOWNSHIP),
        ("gao", "高建国", Role.TOWNSHIP_LEAD, TOWNSHIP),
        ("qin", "秦岚", Role.DEPARTMENT_STAFF, ENVIRONMENT),
        ("lu", "陆正平", Role.COUNTY_SUPERVISOR, str(COUNTY)),
    ]
    return [Member(key, name, role, unit, f"139000000{number:02d}") for number, (key, name, role, unit) in enumerate(cast, start=1)]


def _newcomers() -> list[Member]:
    cast = [
        ("yuan", "袁立新", Role.DEPARTMENT_LEAD, ENVIRONMENT),
        ("kang", "康宁", Role.DEPARTMENT_STAFF, ENVIRONMENT),
        ("tang", "唐亚军", Role.DEPARTMENT_LEAD, HOUSING),
        ("shi", "石建平", Role.DEPARTMENT_STAFF, HOUSING),
        ("jiang", "蒋文", Role.DEPARTMENT_STAFF, HOUSING),
        ("liu", "刘志远", Role.DEPARTMENT_LEAD, WATER),
        ("bai", "白露", Role.DEPARTMENT_STAFF, QINLING_OFFICE),
        ("han", "韩秉正", Role.AUDITOR, str(COUNTY)),
    ]
    return [Member(key, name, role, unit, f"139000000{number:02d}") for number, (key, name, role, unit) in enumerate(cast, start=31)]


CAST: Final = {member.key: member for member in _members()}
NEWCOMERS: Final = {member.key: member for member in _newcomers()}  # of the week
IN_THE_FIELD: Final = tuple(
    key for key, member in CAST.items() if member.role in (Role.GRID_MEMBER, Role.QINLING_GRID_MEMBER, Role.VILLAGE_LEAD)
)
