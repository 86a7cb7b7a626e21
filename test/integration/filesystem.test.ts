/** Both drivers under the contract suite; root, /dev/fuse, fuse3 and attr are there under `make test`. */
import { fileSystemSuite } from '../../conformance/filesystem/suite.ts';
import { RecordedLog } from '../../conformance/filesystem/fixture.ts';
import { chooseDriver } from '../../worker/filesystem/choose-driver.ts';

for (const name of ['kernel', 'fuse-native'] as const) {
  fileSystemSuite(name, () => chooseDriver(name, new RecordedLog()));
}
