"""The places of most tests: two villages of one township in Hanbin, and another county beside it."""

from datetime import UTC, datetime

from contracts.people import Level, Unit

COUNTY = 610902
TOWNSHIP = "610902001"
VILLAGE_A = "610902001001"
VILLAGE_B = "610902001002"
DEPARTMENT = "610902-housing_bureau"
MORNING = datetime(2026, 11, 20, 1, 0, tzinfo=UTC)  # 09:00 in Ankang

UNITS = [
    Unit(code="6109", county=610900, parent=None, level=Level.CITY, name="安康市"),
    Unit(code="610902", county=COUNTY, parent="6109", level=Level.COUNTY, name="汉滨区"),
    Unit(code=TOWNSHIP, county=COUNTY, parent="610902", level=Level.TOWNSHIP, name="老城街道"),
    Unit(code=VILLAGE_A, county=COUNTY, parent=TOWNSHIP, level=Level.VILLAGE, name="甲村"),
    Unit(code=VILLAGE_B, county=COUNTY, parent=TOWNSHIP, level=Level.VILLAGE, name="乙村"),
    Unit(code=DEPARTMENT, county=COUNTY, parent="610902", level=Level.DEPARTMENT, name="区住建局"),
    Unit(code="610921", county=610921, parent="6109", level=Level.COUNTY, name="汉阴县"),
    Unit(code="610921100", county=610921, parent="610921", level=Level.TOWNSHIP, name="城关镇"),
    Unit(code="610921100001", county=610921, parent="610921100", level=Level.VILLAGE, name="丙村"),
]
