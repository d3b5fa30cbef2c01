/** Photographs to try: a cat that the page's own model has never seen the like of, and pictures of its test set that it is sure of. */
import cat from "../../../test/fixtures/preprocess/images/cat.png?url";
import airplane from "../../../test/fixtures/vit-cifar10/photos/airplane-09.png?url";
import automobile from "../../../test/fixtures/vit-cifar10/photos/automobile-05.png?url";
import bird from "../../../test/fixtures/vit-cifar10/photos/bird-04.png?url";
import deer from "../../../test/fixtures/vit-cifar10/photos/deer-06.png?url";
import dog from "../../../test/fixtures/vit-cifar10/photos/dog-05.png?url";
import frog from "../../../test/fixtures/vit-cifar10/photos/frog-03.png?url";
import horse from "../../../test/fixtures/vit-cifar10/photos/horse-06.png?url";
import ship from "../../../test/fixtures/vit-cifar10/photos/ship-08.png?url";
import truck from "../../../test/fixtures/vit-cifar10/photos/truck-05.png?url";

export interface Sample {
  readonly name: string;
  readonly address: string;
}

export const samples: readonly Sample[] = Object.entries({ cat, airplane, automobile, bird, deer, dog, frog, horse, ship, truck }).map(([name, address]) => ({ name, address }));

/** The image file of a sample. */
export async function fetchSample({ name, address }: Sample): Promise<File> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address} could not be fetched: ${response.status}`);
  return new File([await response.blob()], `${name}.png`, { type: "image/png" });
}
